//! As much of Redis' protocol (RESP 2) as it takes to ask a server a question.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest string and the longest list read.
const MAX_LENGTH: usize = 1024 * 1024;

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
}

impl Reply {
    /// The value that follows `name` in a list of names and values.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let Self::List(entries) = self else {
            return None;
        };
        entries.chunks(2).find_map(|pair| match pair {
            [Self::Text(key), Self::Text(value)] if key == name => Some(value.as_str()),
            _ => None,
        })
    }
}

/// Sends one command on a connection of its own; the error is the server's complaint.
pub(crate) fn ask(port: u16, words: &[&str]) -> Result<Reply, String> {
    exchange(port, words).map_err(|error| error.to_string())
}

fn exchange(port: u16, words: &[&str]) -> Result<Reply, std::io::Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(command, "${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(command.as_bytes())?;
    read_reply(&mut BufReader::new(stream))
}

fn read_reply(input: &mut impl BufRead) -> Result<Reply, std::io::Error> {
    let mut line = String::new();
    input.take(MAX_LENGTH as u64).read_line(&mut line)?;
    let strange = || std::io::Error::other("this is not Redis");
    let line = line.strip_suffix("\r\n").ok_or_else(strange)?;
    let (kind, rest) = line.split_at_checked(1).ok_or_else(strange)?;
    match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => Err(std::io::Error::other(rest.to_owned())),
        ":" => rest.parse().map(Reply::Number).map_err(|_| strange()),
        "$" | "*" if rest == "-1" => Ok(Reply::Nothing),
        "$" => {
            let mut text = vec![0; length(rest)? + 2];
            input.read_exact(&mut text)?;
            text.truncate(text.len() - 2);
            Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
        }
        "*" => (0..length(rest)?)
            .map(|_| read_reply(input))
            .collect::<Result<_, _>>()
            .map(Reply::List),
        _ => Err(strange()),
    }
}

fn length(digits: &str) -> Result<usize, std::io::Error> {
    digits
        .parse()
        .ok()
        .filter(|length| *length <= MAX_LENGTH)
        .ok_or_else(|| std::io::Error::other("this is not Redis"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str) -> Result<Reply, String> {
        read_reply(&mut bytes.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_of_names_and_values_are_read() {
        let reply = read("*4\r\n$4\r\nname\r\n$2\r\nm1\r\n$6\r\nslaves\r\n$1\r\n1\r\n").unwrap();
        assert_eq!(reply.field("slaves"), Some("1"));
        assert_eq!(reply.field("m1"), None);
    }

    #[test]
    fn errors_and_strange_bytes_are_errors() {
        assert_eq!(read("-LOADING wait\r\n"), Err("LOADING wait".to_owned()));
        assert!(read("HTTP/1.1 400\r\n").is_err());
        assert!(read("$99999999999\r\n").is_err());
        assert!(read("").is_err());
        assert_eq!(read("$-1\r\n"), Ok(Reply::Nothing));
    }
}
