//! A way to the server that can fall silent: connections stay open and nothing comes through, as
//! when a machine loses its power.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub struct Way {
    url: String,
    silenced: watch::Sender<u64>,
    _passing: JoinSet<()>,
}

impl Way {
    /// A way to the server of `url`.
    pub async fn to(url: &str) -> Self {
        let (before, rest) = url.rsplit_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{before}@{}/{database}", listener.local_addr().unwrap());
        let (silenced, every) = watch::channel(0);
        let mut passing = JoinSet::new();
        passing.spawn(accept(listener, server.to_owned(), every));
        Self {
            url,
            silenced,
            _passing: passing,
        }
    }

    /// The address of the database by this way.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Silences every connection there is; later ones come through, as after a failover.
    pub fn fall_silent(&self) {
        self.silenced.send_modify(|times| *times += 1);
    }
}

async fn accept(listener: TcpListener, server: String, silenced: watch::Receiver<u64>) {
    let mut passing = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let mut silenced = silenced.clone();
        silenced.mark_unchanged();
        let server = server.clone();
        passing.spawn(async move {
            let far = TcpStream::connect(server).await.unwrap();
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            let passing = async {
                tokio::select! {
                    () = pass(near_in, far_out) => {}
                    () = pass(far_in, near_out) => {}
                }
            };
            tokio::pin!(passing);
            tokio::select! {
                () = &mut passing => return,
                changed = silenced.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            // Both ends stay open until the test is over.
            while silenced.changed().await.is_ok() {}
        });
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
