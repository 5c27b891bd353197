//! A TCP connection, plain or in TLS, whose reads and writes end at a deadline.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, ServerConnection, StreamOwned};

/// A socket that gives up once the deadline has passed, however slowly bytes drip in: the socket's
/// own timeout alone would begin anew with each byte.
#[derive(Debug)]
pub(crate) struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn new(socket: TcpStream, patience: Duration) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let mut timed = Self { socket, deadline: Instant::now() };
        timed.set_patience(patience)?;
        Ok(timed)
    }

    fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        // A socket takes no timeout of nothing.
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience))?;
        self.socket.set_write_timeout(Some(patience))?;
        self.allow(patience);
        Ok(())
    }

    fn allow(&mut self, time: Duration) {
        let now = Instant::now();
        self.deadline = now.checked_add(time).unwrap_or(now + Duration::from_secs(86_400));
    }

    fn check(&self) -> io::Result<()> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// `WouldBlock` is how Unix says that a socket's timeout has passed.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.socket.read(into).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.socket.write(bytes).map_err(late)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.check()?;
        self.socket.write_vectored(parts).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to a peer.
pub(crate) enum Stream {
    Plain(Timed),
    Server(Box<StreamOwned<ServerConnection, Timed>>),
    Client(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    /// Wraps a socket; nothing may take longer than `patience` until [`Self::allow`] says otherwise.
    pub(crate) fn plain(socket: TcpStream, patience: Duration) -> io::Result<Self> {
        Ok(Self::Plain(Timed::new(socket, patience)?))
    }

    /// The acceptor's side of TLS; the handshake is done on return.
    pub(crate) fn server_tls(
        socket: TcpStream,
        patience: Duration,
        config: Arc<rustls::ServerConfig>,
    ) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, Timed::new(socket, patience)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Server(Box::new(stream)))
    }

    /// The requestor's side of TLS; the handshake is done on return.
    pub(crate) fn client_tls(
        socket: TcpStream,
        patience: Duration,
        config: Arc<rustls::ClientConfig>,
        name: rustls::pki_types::ServerName<'static>,
    ) -> io::Result<Self> {
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, Timed::new(socket, patience)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::Client(Box::new(stream)))
    }

    fn inner(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Server(tls) => &mut tls.sock,
            Self::Client(tls) => &mut tls.sock,
        }
    }

    /// How long a single read or write may be silent; begins a new deadline of the same length.
    pub(crate) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.inner().set_patience(patience)
    }

    /// What is read and written from now on has to be done within `time`.
    pub(crate) fn allow(&mut self, time: Duration) {
        self.inner().allow(time);
    }

    /// Says goodbye in TLS and ends our direction; what the peer still sends is swallowed for a short
    /// while, so that it reads our last words before the connection is reset.
    pub(crate) fn close(&mut self) {
        const SHORT: Duration = Duration::from_millis(300);
        // The peer may be gone already: nothing is lost by any failure here.
        match self {
            Self::Plain(_) => {}
            Self::Server(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.conn.write_tls(&mut tls.sock);
            }
            Self::Client(tls) => {
                tls.conn.send_close_notify();
                let _ = tls.conn.write_tls(&mut tls.sock);
            }
        }
        let timed = self.inner();
        let _ = timed.socket.shutdown(Shutdown::Write);
        let _ = timed.set_patience(SHORT);
        let mut sink = [0u8; 16 * 1024];
        while matches!(timed.read(&mut sink), Ok(read) if read > 0) {}
        let _ = timed.socket.shutdown(Shutdown::Both);
    }

    /// Writes all parts, without copying them together where the connection is plain.
    pub(crate) fn write_parts(&mut self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        while !parts.is_empty() {
            let written = self.write_vectored(parts)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut parts, written);
        }
        self.flush()
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(into),
            Self::Server(tls) => tls.read(into),
            Self::Client(tls) => tls.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(bytes),
            Self::Server(tls) => tls.write(bytes),
            Self::Client(tls) => tls.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write_vectored(parts),
            Self::Server(tls) => tls.write_vectored(parts),
            Self::Client(tls) => tls.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Server(tls) => tls.flush(),
            Self::Client(tls) => tls.flush(),
        }
    }
}
