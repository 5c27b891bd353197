//! The acceptor: a listening thread, and a thread for each association.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{AeTitle, CommitmentReport, DimseError, ReceivedObject, StoreStatus, serve};

/// Connections above the limit of associations that are still read from, to be rejected in words;
/// above these, a connection is closed at once.
const REJECTING: usize = 32;

/// How to listen.
#[derive(Clone, Debug)]
pub struct ScpConfig {
    /// Our AE title.
    pub ae_title: AeTitle,
    /// Where to listen; port 0 takes a free one.
    pub bind: SocketAddr,
    /// TLS alone is spoken, if given; see [`tls_server`](crate::tls_server).
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Whether callers may call us by any AE title.
    pub accept_any_called: bool,
    /// Who may call; anybody, if empty.
    pub calling: Vec<AeTitle>,
    /// How many associations may be open at once.
    pub max_associations: usize,
    /// How long an open association may be silent: a PDU, once begun, has to be whole within this time.
    pub idle: Duration,
    /// How long a new connection may take, for each TLS and A-ASSOCIATE-RQ.
    pub negotiation: Duration,
    /// The longest data set that is taken, in bytes.
    pub max_object_bytes: u64,
    /// The longest P-DATA-TF that peers may send, in bytes; 256 KiB serves fast peers well.
    pub max_pdu: u32,
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The AE title that the peer gives itself.
    pub calling: AeTitle,
    /// The AE title by which it calls us.
    pub called: AeTitle,
    /// Where its connection comes from.
    pub address: SocketAddr,
}

/// Takes what arrives. Called from the associations' threads, many at once.
pub trait Receiver: Send + Sync + 'static {
    /// Blocks until the object is durable, or refused.
    fn store(&self, from: &Caller, object: ReceivedObject) -> StoreStatus;

    /// A peer's answer to a storage commitment request, on an association that the peer opened. Blocks until it is durable; if not, the peer is answered
    /// with a processing failure and may report again.
    fn committed(&self, from: &Caller, report: CommitmentReport) -> bool;

    /// The folder where incoming files are written.
    fn staging(&self) -> &Path;

    /// Asked before an object is written: the status to refuse it with, if it is not wanted now.
    fn refuse_early(&self) -> Option<StoreStatus>;
}

/// The acceptor of associations.
pub struct Scp;

/// A listening acceptor; dropping it stops it at once.
pub struct ScpHandle {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads of an acceptor share.
pub(crate) struct Shared {
    pub(crate) config: ScpConfig,
    pub(crate) receiver: Arc<dyn Receiver>,
    pub(crate) stopping: AtomicBool,
    /// Associations that were accepted and are still open.
    pub(crate) open: AtomicUsize,
    connections: Mutex<HashMap<u64, Connection>>,
}

/// A connection, as seen by whoever wants to stop it.
struct Connection {
    socket: TcpStream,
    busy: Arc<AtomicBool>,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, HashMap<u64, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scp {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`DimseError::Bind`] if the port cannot be had, [`DimseError::File`] if the staging folder is
    /// not there, [`DimseError::Setting`] for limits that would refuse everything.
    pub fn start(config: ScpConfig, receiver: Arc<dyn Receiver>) -> Result<ScpHandle, DimseError> {
        if config.max_associations == 0 || config.max_pdu < 4096 {
            return Err(DimseError::Setting("max_associations has to be at least 1, max_pdu at least 4096"));
        }
        std::fs::read_dir(receiver.staging())
            .map_err(|source| DimseError::File { what: "the staging folder", source })?;
        let bound = |source| DimseError::Bind { address: config.bind, source };
        let listener = TcpListener::bind(config.bind).map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        let ae_title = config.ae_title.clone();
        let shared = Arc::new(Shared {
            config,
            receiver,
            stopping: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let listening = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("dimse-listen".to_owned())
                .spawn(move || listen(&shared, &listener))
        };
        let listening = listening.map_err(|source| DimseError::File { what: "a thread", source })?;
        tracing::info!(%address, %ae_title, "listening for DICOM associations");
        Ok(ScpHandle { shared, address, listening: Mutex::new(Some(listening)) })
    }
}

impl ScpHandle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many associations are open.
    pub fn open_associations(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Stops: no new associations, idle ones are aborted at once, those with a message under way
    /// within `grace`, whatever they do. Returns when all are gone; a receiver that is still storing
    /// is waited for at most another second. Stopping again does nothing.
    pub fn stop(&self, grace: Duration) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listening) = listening else { return };
        // The listening thread wakes for a connection, sees that it has to stop, and goes.
        let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        if listening.join().is_err() {
            tracing::error!("the listening thread had failed");
        }
        let begin = Instant::now();
        loop {
            let connections = self.shared.connections();
            let over = begin.elapsed() >= grace;
            for connection in connections.values() {
                if over || !connection.busy.load(Ordering::SeqCst) {
                    // A thread that waits for the peer sees the end of the stream.
                    let how = if over { Shutdown::Both } else { Shutdown::Read };
                    let _ = connection.socket.shutdown(how);
                }
            }
            let none = connections.is_empty();
            drop(connections);
            if none || begin.elapsed() >= grace + Duration::from_secs(1) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for ScpHandle {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// An address at which our own listener can be reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn listen(shared: &Arc<Shared>, listener: &TcpListener) {
    let mut number = 0u64;
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            Ok((socket, address)) => {
                number += 1;
                take(shared, socket, address, number);
            }
            Err(error) => {
                // Out of file descriptors, most likely: connections that end give some back.
                tracing::error!(error = %error, "no connection could be accepted");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Gives a connection its thread.
fn take(shared: &Arc<Shared>, socket: TcpStream, address: SocketAddr, number: u64) {
    let busy = Arc::new(AtomicBool::new(false));
    {
        let mut connections = shared.connections();
        if connections.len() >= shared.config.max_associations + REJECTING {
            tracing::warn!(%address, "too many connections, one was closed at once");
            return;
        }
        let Ok(clone) = socket.try_clone() else {
            tracing::error!(%address, "out of file descriptors, a connection was closed at once");
            return;
        };
        connections.insert(number, Connection { socket: clone, busy: Arc::clone(&busy) });
    }
    let registered = Registered { shared: Arc::clone(shared), number };
    // The entry goes with the thread, also when the thread cannot be started.
    let spawned = std::thread::Builder::new().name("dimse-association".to_owned()).spawn(move || {
        let shared = &registered.shared;
        // What a peer sends, or what the receiver does with it, must not take the server down.
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            serve::connection(shared, socket, address, &busy);
        }));
        if served.is_err() {
            tracing::error!(%address, "an association ended by a panic");
        }
    });
    if spawned.is_err() {
        tracing::error!(%address, "no thread for an association, its connection was closed");
    }
}

/// A connection's entry, removed on drop.
struct Registered {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(connection) = self.shared.connections().remove(&self.number) {
            // A thread that panicked did not close: the clone kept the socket open.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
    }
}
