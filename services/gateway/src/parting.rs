//! Taking leave of a client so that it sees an end and no error.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a client may take to close its side once it was told that nothing follows.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// How much is read of what a client still sends after the last word to it.
const UNREAD_BYTES: u64 = 16 * 1024;

/// Says that nothing follows and waits for the peer to close. The caller sets the time, usually [`LINGER`].
///
/// A socket that is closed before it has read everything resets its connection (RFC 1122, 4.2.2.13), and a
/// client that goes always sends something more: the last record of TLS.
///
/// # Errors
/// Those of the stream; it may be dropped then.
pub(crate) async fn part<S>(io: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    io.shutdown().await?;
    let mut unread = io.take(UNREAD_BYTES);
    let mut discarded = [0; 512];
    while unread.read(&mut discarded).await? > 0 {}
    Ok(())
}
