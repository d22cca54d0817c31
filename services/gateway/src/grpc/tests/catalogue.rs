//! Every cause of the catalogue through the door, over a real socket.

use super::*;

#[tokio::test]
async fn every_cause_has_the_status_of_its_row_and_carries_its_number() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let mut twins = site.with("service").await.twins();
    for code in ErrorCode::ALL {
        site.hub.backend.refuse(*code);
        let request = v1::GetTwinRequest {
            device_id: "dev-1".to_owned(),
        };
        let status = twins.get(request).await.expect_err("it is refused");
        let expected = refused(super::super::status::grpc_code(*code), *code);
        assert_eq!(code_of(&status), expected, "{code:?}");
        assert_eq!(status.message(), "the test refuses");
    }
}
