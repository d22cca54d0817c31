//! MQTT sessions.

use bytes::Bytes;
use downlink_domain::id::DeviceKey;

use super::Subject;

#[doc(hidden)]
pub async fn a_saved_session_reads_back_until_it_is_removed(subject: Subject) {
    let first = subject.register("dev-1").await.key;
    let second = subject.register("dev-2").await.key;
    let sessions = &subject.sessions;
    let body = |byte| Some(Bytes::from(vec![byte; 1_000]));

    assert_eq!(sessions.find_session(first).await.unwrap(), None);
    let saved = sessions.save_sessions(vec![(first, body(0)), (second, body(255))]);
    saved.await.unwrap();
    assert_eq!(sessions.find_session(first).await.unwrap(), body(0));
    assert_eq!(sessions.find_session(second).await.unwrap(), body(255));

    let saved = sessions.save_sessions(vec![(first, None), (second, None), (second, body(7))]);
    saved.await.unwrap();
    assert_eq!(sessions.find_session(first).await.unwrap(), None);
    assert_eq!(sessions.find_session(second).await.unwrap(), body(7));
}

#[doc(hidden)]
pub async fn a_session_of_nobody_is_dropped(subject: Subject) {
    let somebody = subject.register("dev-1").await.key;
    let nobody = DeviceKey(somebody.0 + 1_000);
    let body = Bytes::from_static(b"session");
    let sessions = vec![(nobody, Some(body.clone())), (somebody, Some(body.clone()))];
    subject.sessions.save_sessions(sessions).await.unwrap();
    let found = subject.sessions.find_session(nobody).await;
    assert_eq!(found.unwrap(), None);
    let found = subject.sessions.find_session(somebody).await;
    assert_eq!(found.unwrap(), Some(body));
}
