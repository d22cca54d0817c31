//! methods.md §1, §2.

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError};
use downlink_ports::MethodApi;
use parking_lot::Mutex;

use super::*;

/// A method router that writes down its calls and gives one answer.
struct Scripted {
    calls: Mutex<Vec<MethodCall>>,
    answer: Mutex<Result<MethodAnswer, MethodError>>,
}

#[async_trait]
impl MethodApi for Scripted {
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError> {
        self.calls.lock().push(call);
        self.answer.lock().clone()
    }
}

fn answer(status: i32, payload: &'static str) -> MethodAnswer {
    MethodAnswer {
        status,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

async fn site_answering(answer: MethodAnswer) -> (Site, Arc<Scripted>) {
    let scripted = Arc::new(Scripted {
        calls: Mutex::default(),
        answer: Mutex::new(Ok(answer)),
    });
    let methods = Arc::clone(&scripted) as Arc<dyn MethodApi>;
    let site = Site::of(TestHub::with_peers(|peers| peers.methods = methods).await);
    site.hub.device("dev-1").await;
    (site, scripted)
}

fn request() -> v1::InvokeRequest {
    v1::InvokeRequest {
        device_id: "dev-1".to_owned(),
        method_name: "reboot".to_owned(),
        ..v1::InvokeRequest::default()
    }
}

#[tokio::test]
async fn payloads_keep_their_text_both_ways_and_none_is_not_null() {
    let (site, router) = site_answering(answer(-7, "")).await;
    let mut methods = site.with("service").await.methods();
    for payload in ["null", "1.50", "-7e3", r#"{"b":{"a":[1,2]},"a":null}"#] {
        *router.answer.lock() = Ok(answer(207, payload));
        let mut request = request();
        request.payload_json = Some(payload.to_owned());
        let response = methods.invoke(request).await.unwrap().into_inner();
        assert_eq!(response.status, 207);
        assert_eq!(response.payload_json.as_deref(), Some(payload));
        assert_eq!(router.calls.lock().pop().unwrap().payload, payload);
    }
    *router.answer.lock() = Ok(answer(-7, ""));
    let response = methods.invoke(request()).await.unwrap().into_inner();
    assert_eq!((response.status, response.payload_json), (-7, None));
    assert_eq!(router.calls.lock().pop().unwrap().payload, "");
}

#[tokio::test]
async fn timeouts_have_their_defaults_and_end_with_the_callers_deadline() {
    let (site, router) = site_answering(answer(200, "")).await;
    let mut methods = site.with("service").await.methods();
    let mut timeouts = async |response, connect, deadline: Option<u64>| {
        let mut request = Request::new(v1::InvokeRequest {
            response_timeout_seconds: response,
            connect_timeout_seconds: connect,
            ..request()
        });
        if let Some(seconds) = deadline {
            request.set_timeout(Duration::from_secs(seconds));
        }
        methods.invoke(request).await.unwrap();
        let timeouts = router.calls.lock().pop().unwrap().timeouts;
        let rounded = |time: Duration| time.as_secs_f64().round();
        (rounded(timeouts.connect()), rounded(timeouts.response()))
    };
    assert_eq!(timeouts(None, None, None).await, (0.0, 30.0));
    assert_eq!(timeouts(Some(300), Some(20), None).await, (20.0, 300.0));
    assert_eq!(
        timeouts(Some(300), Some(20), Some(400)).await,
        (20.0, 300.0)
    );
    assert_eq!(timeouts(Some(300), Some(20), Some(10)).await, (10.0, 10.0));
    assert_eq!(timeouts(None, None, Some(2)).await, (0.0, 5.0));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_before_anybody_is_called() {
    let (site, router) = site_answering(answer(200, "")).await;
    let mut methods = site.with("service").await.methods();
    let broken: [fn(&mut v1::InvokeRequest); 6] = [
        |request| request.method_name = String::new(),
        |request| request.method_name = "a b".to_owned(),
        |request| request.device_id = "a b".to_owned(),
        |request| request.response_timeout_seconds = Some(4),
        |request| request.response_timeout_seconds = Some(301),
        |request| request.connect_timeout_seconds = Some(31),
    ];
    for change in broken {
        let mut request = request();
        change(&mut request);
        let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
        assert_eq!(refusal(methods.invoke(request).await), expected);
    }
    let mut unreadable = request();
    unreadable.payload_json = Some("{".to_owned());
    let expected = refused(Code::InvalidArgument, ErrorCode::IotHubFormatError);
    assert_eq!(refusal(methods.invoke(unreadable).await), expected);
    let mut nobody = request();
    nobody.device_id = "nobody".to_owned();
    let expected = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    assert_eq!(refusal(methods.invoke(nobody).await), expected);
    assert!(router.calls.lock().is_empty());
}

#[tokio::test]
async fn every_outcome_of_a_call_has_its_code() {
    let (site, router) = site_answering(answer(200, "")).await;
    let mut methods = site.with("service").await.methods();
    for (error, code) in [
        (MethodError::PayloadTooLarge, Code::InvalidArgument),
        (MethodError::DeviceNotFound, Code::NotFound),
        (MethodError::NotOnline, Code::FailedPrecondition),
        (MethodError::ConnectionLost, Code::Aborted),
        (MethodError::Superseded, Code::Aborted),
        (MethodError::TimedOut, Code::DeadlineExceeded),
        (MethodError::BadAnswer, Code::Internal),
        (MethodError::TooManyInFlight, Code::ResourceExhausted),
        (MethodError::Unavailable, Code::Unavailable),
    ] {
        *router.answer.lock() = Err(error);
        let ended = methods.invoke(request()).await;
        assert_eq!(refusal(ended), refused(code, error.code()), "{error:?}");
    }
    *router.answer.lock() = Ok(answer(200, "no json"));
    let expected = refused(Code::Internal, ErrorCode::GenericBadGateway);
    assert_eq!(refusal(methods.invoke(request()).await), expected);
}
