use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_ports::{ItemType, PeerError, QueryApi, QueryCall, QueryPage};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::testing::hub;
use crate::{GrpcTwinClient, MuxOptions, Services, in_process};

/// Answers from a list, and remembers what it was asked.
#[derive(Default)]
struct Desk {
    answers: Mutex<Vec<Result<QueryPage, PeerError>>>,
    asked: Mutex<Vec<QueryCall>>,
}

#[async_trait]
impl QueryApi for Desk {
    async fn query(&self, call: QueryCall) -> Result<QueryPage, PeerError> {
        self.asked.lock().push(call);
        self.answers.lock().remove(0)
    }
}

fn call(continuation: Option<&str>) -> QueryCall {
    QueryCall {
        hub: hub(),
        text: "SELECT * FROM devices WHERE tags.é = '\u{0}'".to_owned(),
        page_size: 1000,
        continuation: continuation.map(str::to_owned),
    }
}

fn serve(desk: &Arc<Desk>, lifecycle: &Lifecycle) -> GrpcTwinClient {
    let (endpoint, acceptor) = in_process();
    Services::new(lifecycle)
        .with_queries(Arc::clone(desk) as _)
        .serve(acceptor);
    GrpcTwinClient::new(&endpoint, MuxOptions::default(), lifecycle)
}

#[tokio::test]
async fn queries_pages_and_refusals_cross_the_wire_whole() {
    let page = |item_type, continuation: Option<&str>| QueryPage {
        item_type,
        items: vec!["{\"a\":1}".into(), "{}".into()],
        continuation: continuation.map(str::to_owned),
    };
    let refusal = Err(PeerError::refused(
        ErrorCode::ArgumentInvalid,
        &"syntax error at character 3: no",
    ));
    let answers = vec![
        Ok(page(ItemType::Twin, Some("abc"))),
        Ok(page(ItemType::DeviceJob, None)),
        Ok(page(ItemType::Raw, Some("def"))),
        refusal,
    ];
    let desk = Arc::new(Desk::default());
    desk.answers.lock().clone_from(&answers);
    let lifecycle = Lifecycle::new();
    let client = serve(&desk, &lifecycle);
    for answer in answers {
        let continuation = answer.as_ref().ok().map(|_| "xyz");
        assert_eq!(client.query(call(continuation)).await, answer);
        assert_eq!(desk.asked.lock().pop(), Some(call(continuation)));
    }
}

#[tokio::test]
async fn calls_outside_their_bounds_never_reach_the_service() {
    let desk = Arc::new(Desk::default());
    let lifecycle = Lifecycle::new();
    let client = serve(&desk, &lifecycle);
    for (text, page_size, continuation) in [
        ("x".repeat(4 * 8192 + 1), 1, None),
        (String::new(), 0, None),
        (String::new(), 1001, None),
        (String::new(), 1, Some("x".repeat(129))),
    ] {
        let call = QueryCall {
            hub: hub(),
            text,
            page_size,
            continuation,
        };
        let refused = client.query(call).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ArgumentInvalid);
    }
    assert_eq!(*desk.asked.lock(), []);
}
