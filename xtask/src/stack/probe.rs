//! Asking a service whether it is ready.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::shell::{Failure, Outcome};

/// The longest a service may take to be ready: Kafka topics and the schema are made on the way.
const PATIENCE: Duration = Duration::from_mins(1);

/// The longest one question may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long to leave a service alone between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks `/readyz` on the port until the answer is 200; gives up when `is_running` says no.
///
/// # Errors
/// A clause that says why the service is not ready.
pub(super) fn wait_until_ready(port: u16, is_running: impl Fn() -> bool) -> Outcome {
    let started = Instant::now();
    while !is_ready(port) {
        if !is_running() {
            return Err(Failure("ended".to_owned()));
        }
        if started.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(Failure(format!("was not ready within {seconds} s")));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn is_ready(port: u16) -> bool {
    ask(port).is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"))
}

/// Gives the beginning of the answer.
fn ask(port: u16) -> std::io::Result<[u8; 12]> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one question after the other with these status lines. Whoever else finds the port
    /// asks nothing, and is given no answer.
    fn serve(statuses: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for status in statuses {
                let mut stream = accept_question(&listener);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                // One that gave up meanwhile asks again, and is given the next answer.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    fn accept_question(listener: &TcpListener) -> TcpStream {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 1024];
            let read = stream.read(&mut question).unwrap_or(0);
            if question[..read].starts_with(b"GET /readyz ") {
                return stream;
            }
        }
    }

    #[test]
    fn a_service_is_waited_for_until_it_says_that_it_is_ready() {
        let port = serve(&["503 Service Unavailable", "200 OK", "200 OK"]);
        wait_until_ready(port, || true).unwrap();
    }

    #[test]
    fn a_service_that_ended_is_not_waited_for() {
        let port = serve(&["503 Service Unavailable"]);
        let failure = wait_until_ready(port, || false).unwrap_err();
        assert_eq!(failure.to_string(), "ended");
    }
}
