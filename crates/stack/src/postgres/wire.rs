//! As much of Postgres' protocol (version 3) as it takes to run one statement as a trusted user.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest a statement of this crate may take; `CREATE DATABASE` under load is the longest.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The longest message read; longer ones are none that the statements here lead to.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Runs one statement on a connection of its own; the error is the server's complaint.
pub(crate) fn execute(port: u16, user: &str, database: &str, sql: &str) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream =
        TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| error.to_string())?;
    exchange(&mut stream, user, database, sql).map_err(|error| error.to_string())
}

fn exchange(
    stream: &mut TcpStream,
    user: &str,
    database: &str,
    sql: &str,
) -> Result<(), std::io::Error> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut startup = 196_608_u32.to_be_bytes().to_vec();
    for word in ["user", user, "database", database, ""] {
        startup.extend(word.as_bytes());
        startup.push(0);
    }
    send(stream, None, &startup)?;
    read_until_ready(stream)?;
    let mut query = sql.as_bytes().to_vec();
    query.push(0);
    send(stream, Some(b'Q'), &query)?;
    read_until_ready(stream)?;
    send(stream, Some(b'X'), &[])
}

fn send(stream: &mut TcpStream, kind: Option<u8>, body: &[u8]) -> Result<(), std::io::Error> {
    let length = u32::try_from(body.len() + 4).map_err(std::io::Error::other)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend(length.to_be_bytes());
    message.extend(body);
    stream.write_all(&message)
}

/// Reads up to `ReadyForQuery`.
fn read_until_ready(stream: &mut TcpStream) -> Result<(), std::io::Error> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=MAX_MESSAGE_BYTES).contains(&length) {
            return Err(std::io::Error::other("this is not Postgres"));
        }
        let mut body = vec![0; length - 4];
        stream.read_exact(&mut body)?;
        match kind {
            b'Z' => return Ok(()),
            b'E' => return Err(std::io::Error::other(complaint(&body))),
            b'R' if !body.starts_with(&[0; 4]) => {
                return Err(std::io::Error::other("it asks for a password"));
            }
            _ => {}
        }
    }
}

/// The human-readable field of an `ErrorResponse`.
fn complaint(body: &[u8]) -> String {
    let text = body
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"));
    String::from_utf8_lossy(text.unwrap_or(b"an error without words")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_an_error_is_found_among_its_fields() {
        let body = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0";
        assert_eq!(complaint(body), "the database system is starting up");
        assert_eq!(complaint(b"\0"), "an error without words");
    }
}
