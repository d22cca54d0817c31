//! The serving side.

use std::sync::Arc;

use downlink_ports::{QueryApi, QueryCall};
use downlink_proto::v1;
use downlink_proto::v1::query_service_server::QueryService;
use tonic::{Request, Response, Status};

use crate::failure::{refuse, to_status};
use crate::wire::{FromWire, ToWire};

/// Serves queries.
pub(crate) struct QueryServer {
    api: Arc<dyn QueryApi>,
}

impl QueryServer {
    pub(crate) fn new(api: Arc<dyn QueryApi>) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl QueryService for QueryServer {
    async fn query(
        &self,
        request: Request<v1::QueryRequest>,
    ) -> Result<Response<v1::QueryResponse>, Status> {
        let call = QueryCall::from_wire(request.into_inner()).map_err(refuse)?;
        let page = self.api.query(call).await.map_err(to_status)?;
        Ok(Response::new(page.to_wire()))
    }
}
