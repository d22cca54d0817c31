//! As much of Kafka's protocol as it takes to learn that a broker is at work.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer read: one broker and no topics is a few dozen bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A `Metadata` request, version 1, for no topic at all, with the correlation id 1 and no client
/// id.
const METADATA_REQUEST: [u8; 14] = [0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];

/// Asks the node for the brokers of its cluster; an answer that names one means it is at work.
pub(crate) fn ask_for_brokers(port: u16) -> Result<(), String> {
    let answer = exchange(port).map_err(|error| error.to_string())?;
    match broker_count(&answer) {
        Some(1..) => Ok(()),
        Some(_) => Err("the cluster has no broker yet".to_owned()),
        None => Err("this is not Kafka".to_owned()),
    }
}

fn exchange(port: u16) -> Result<Vec<u8>, std::io::Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = u32::try_from(METADATA_REQUEST.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), METADATA_REQUEST.as_slice()].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_ANSWER_BYTES {
        return Err(std::io::Error::other("this is not Kafka"));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The number of brokers follows the correlation id.
fn broker_count(answer: &[u8]) -> Option<u32> {
    let count = answer.get(4..8)?.try_into().ok()?;
    Some(u32::from_be_bytes(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_brokers_is_read_and_a_short_answer_is_none() {
        assert_eq!(broker_count(&[0, 0, 0, 1, 0, 0, 0, 1, 9]), Some(1));
        assert_eq!(broker_count(&[0, 0, 0, 1, 0, 0]), None);
    }
}
