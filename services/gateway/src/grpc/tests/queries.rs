//! registry.md §5.

use super::*;

fn request(query: &str, continuation: &str) -> v1::QueryRequest {
    v1::QueryRequest {
        query: query.to_owned(),
        page_size: 7,
        continuation: continuation.to_owned(),
    }
}

#[tokio::test]
async fn a_query_is_answered_page_by_page_or_all_at_once() {
    let site = Site::new().await;
    let mut queries = site.with("service").await.queries();
    let (mut continuation, mut rows) = (String::new(), Vec::new());
    loop {
        let asked = request("SELECT * FROM devices", &continuation);
        let page = queries.query(asked).await.unwrap().into_inner();
        assert_eq!(page.item_type(), v1::QueryItemType::Twin);
        rows.extend(page.rows_json);
        if page.continuation.is_empty() {
            break;
        }
        continuation = page.continuation;
    }
    let expected = [1, 2, 3].map(|page| format!("{{\"page\":{page},\"most\":7}}"));
    assert_eq!(rows, expected);

    let all = v1::QueryAllRequest {
        query: "SELECT * FROM devices".to_owned(),
        page_size: 7,
    };
    let mut pages = queries.query_all(all).await.unwrap().into_inner();
    let mut streamed = Vec::new();
    while let Some(page) = pages.message().await.unwrap() {
        assert_eq!(page.item_type(), v1::QueryItemType::Twin);
        streamed.extend(page.rows_json);
    }
    assert_eq!(streamed, expected);
}

#[tokio::test]
async fn what_is_no_query_is_refused_before_a_stream_begins() {
    let site = Site::new().await;
    let mut queries = site.with("service").await.queries();
    let invalid = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
    let asked = request("SELECT * FRO devices", "");
    let error = queries.query(asked).await.unwrap_err();
    assert!(error.message().contains("character 10"), "{error}");
    assert_eq!(code_of(&error), invalid);
    let all = v1::QueryAllRequest {
        query: "SELECT * FRO devices".to_owned(),
        page_size: 0,
    };
    assert_eq!(refusal(queries.query_all(all).await), invalid);
    let mut many = request("SELECT * FROM devices", "");
    many.page_size = 1001;
    assert_eq!(refusal(queries.query(many).await), invalid);
    let unknown = request("SELECT * FROM devices", "unknown");
    assert_eq!(refusal(queries.query(unknown).await), invalid);
}
