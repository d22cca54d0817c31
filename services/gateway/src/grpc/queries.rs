//! Queries (registry.md §5).

use std::sync::Arc;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::limits::HubOperation;
use downlink_ports::{ItemType, MAX_CONTINUATION, MAX_PAGE_ROWS, QueryCall, QueryPage};
use downlink_proto::api::v1;
use downlink_proto::api::v1::queries_server::Queries;
use downlink_runtime::OnError;
use tonic::{Request, Response, Status};

use super::Api;
use super::answers::{AnswerStream, Answers, answers};
use super::call::{Call, Ending};
use crate::https::USE_CASE_DEADLINE;
use crate::https::error::ApiError;
use crate::https::serve::Activity;
use crate::shared::Shared;

/// Rows of a page for a caller that does not say how many it wants.
const DEFAULT_ROWS: u32 = 100;

#[tonic::async_trait]
impl Queries for Api {
    type QueryAllStream = AnswerStream<v1::QueryAllResponse>;

    async fn query(
        &self,
        request: Request<v1::QueryRequest>,
    ) -> Result<Response<v1::QueryResponse>, Status> {
        let (call, request) = Call::open(request)?;
        call.authorize_query(&self.shared).await?;
        let continuation = Some(request.continuation).filter(|text| !text.is_empty());
        let asked = asked(&self.shared, request.query, request.page_size, continuation)?;
        let page = ask(&self.shared, asked).await?;
        call.authorize_rows(&self.shared, page.item_type).await?;
        Ok(Response::new(v1::QueryResponse {
            item_type: item_type(&page),
            continuation: page.continuation.unwrap_or_default(),
            rows_json: texts(page.items)?,
        }))
    }

    async fn query_all(
        &self,
        request: Request<v1::QueryAllRequest>,
    ) -> Result<Response<Self::QueryAllStream>, Status> {
        let (call, request) = Call::open(request)?;
        call.authorize_query(&self.shared).await?;
        let asked = asked(&self.shared, request.query, request.page_size, None)?;
        // The first page is asked for before the stream begins, so that a refusal is the answer.
        let first = ask(&self.shared, asked.clone()).await?;
        call.authorize_rows(&self.shared, first.item_type).await?;
        let shared = Arc::clone(&self.shared);
        let (sender, stream) = answers(shared.options.grpc.write_deadline);
        let scope = shared.lifecycle.clone();
        scope.spawn("grpc.query", OnError::Log, async move {
            let _held = call.activity.clone().map(Activity::hold);
            let telling = tell_all(&shared, asked, first, &sender);
            let ending = tokio::select! {
                told = telling => told.err().map(Status::from),
                ending = call.ending(&shared) => Some(match ending {
                    Ending::Deadline => super::status::deadline(),
                    Ending::Soft(status) => status,
                }),
            };
            if let Some(status) = ending {
                sender.fail(status);
            }
        });
        Ok(Response::new(stream))
    }
}

/// Sends page after page until there is none or the caller has gone.
async fn tell_all(
    shared: &Shared,
    mut asked: QueryCall,
    first: QueryPage,
    sender: &Answers<v1::QueryAllResponse>,
) -> Result<(), ApiError> {
    let mut page = first;
    loop {
        let next = page.continuation.take();
        let message = v1::QueryAllResponse {
            item_type: item_type(&page),
            rows_json: texts(page.items)?,
        };
        // Whoever is gone needs no further page.
        if sender.send(message).await.is_err() || next.is_none() {
            return Ok(());
        }
        asked.continuation = next;
        // A page costs what a query costs.
        shared.limits.admit(HubOperation::Query, 1).await?;
        page = ask(shared, asked.clone()).await?;
    }
}

async fn ask(shared: &Shared, call: QueryCall) -> Result<QueryPage, ApiError> {
    let asking = tokio::time::timeout(USE_CASE_DEADLINE, shared.peers.queries.query(call));
    Ok(asking.await.map_err(|_| ApiError::deadline())??)
}

fn asked(
    shared: &Shared,
    text: String,
    page_size: u32,
    continuation: Option<String>,
) -> Result<QueryCall, ApiError> {
    if page_size > MAX_PAGE_ROWS {
        return Err(ApiError::invalid(&"page_size must be 1 to 1000"));
    }
    let is_long = |text: &String| text.len() > MAX_CONTINUATION;
    if continuation.as_ref().is_some_and(is_long) {
        let text = "the continuation is not one that this hub has given";
        return Err(ApiError::invalid(&text));
    }
    Ok(QueryCall {
        hub: shared.options.hub.clone(),
        text,
        page_size: if page_size == 0 {
            DEFAULT_ROWS
        } else {
            page_size
        },
        continuation,
    })
}

fn item_type(page: &QueryPage) -> i32 {
    let item_type = match page.item_type {
        ItemType::Twin => v1::QueryItemType::Twin,
        ItemType::DeviceJob => v1::QueryItemType::DeviceJob,
        ItemType::Raw => v1::QueryItemType::Raw,
    };
    item_type.into()
}

fn texts(rows: Vec<Bytes>) -> Result<Vec<String>, ApiError> {
    let texts = rows.into_iter().map(|row| String::from_utf8(row.into()));
    texts
        .collect::<Result<_, _>>()
        .map_err(|_| ApiError::new(ErrorCode::ServerError, "a row is no text"))
}
