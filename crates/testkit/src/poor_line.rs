//! A poor line: a TCP proxy that is slow, stalls as lost packets make it, breaks connections, and goes away for hours if a test wants so.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are passed on at once.
const CHUNK: usize = 1024;

/// How poor it is.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// Bytes a second, each way.
    pub bytes_per_second: u64,
    /// Of a hundred chunks of 1 KiB, so many come late.
    pub late_percent: u64,
    /// How late.
    pub late: Duration,
    /// How long a connection lives; none for as long as it likes.
    pub life: Option<Range<Duration>>,
    /// Everything by chance follows from it.
    pub seed: u64,
}

#[derive(Default)]
struct State {
    sent: AtomicU64,
    cuts: AtomicU64,
    away: AtomicBool,
    ended: AtomicBool,
}

/// A running one.
pub struct PoorLine {
    address: SocketAddr,
    state: Arc<State>,
}

impl PoorLine {
    /// A line to an address of this machine.
    ///
    /// # Panics
    /// No port can be had.
    pub fn start(to: SocketAddr, conditions: Conditions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for (number, client) in (1..).zip(listener.incoming()) {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                if shared.away.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(to) else { continue };
                connect(client, server, &conditions, number, &shared);
            }
        });
        Self { address, state }
    }

    /// Where it begins.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Bytes that have crossed it towards the service.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// Connections that it broke.
    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Breaks what goes over it and lets nobody in, or lets them in again.
    pub fn go_away(&self, away: bool) {
        self.state.away.store(away, Ordering::SeqCst);
    }
}

impl Drop for PoorLine {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes whoever waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: TcpStream, server: TcpStream, conditions: &Conditions, number: u64, state: &Arc<State>) {
    let mut chance = Chance(conditions.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)));
    let life = conditions.life.clone().map(|life| {
        let span = u64::try_from((life.end - life.start).as_millis()).unwrap_or(u64::MAX);
        life.start + Duration::from_millis(chance.below(span.max(1)))
    });
    let ends = life.map(|life| Instant::now() + life);
    let cut = Arc::new(AtomicBool::new(false));
    for (up, from, to) in [(true, &client, &server), (false, &server, &client)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let pump = Pump {
            from,
            to,
            up,
            ends,
            conditions: conditions.clone(),
            chance: Chance(chance.next()),
            state: Arc::clone(state),
            cut: Arc::clone(&cut),
        };
        thread::spawn(move || pump.run());
    }
}

/// One direction of a connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    up: bool,
    ends: Option<Instant>,
    conditions: Conditions,
    chance: Chance,
    state: Arc<State>,
    cut: Arc<AtomicBool>,
}

impl Pump {
    fn run(mut self) {
        let _ = self.from.set_read_timeout(Some(Duration::from_millis(20)));
        let mut chunk = [0; CHUNK];
        loop {
            if self.is_over() {
                return self.cut_off();
            }
            let length = match self.from.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => length,
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            let whole = Duration::from_secs(length as u64);
            let mut wait = whole / u32::try_from(self.conditions.bytes_per_second).unwrap_or(u32::MAX).max(1);
            if self.chance.below(100) < self.conditions.late_percent {
                wait += self.conditions.late;
            }
            thread::sleep(wait);
            if self.is_over() {
                return self.cut_off();
            }
            if self.to.write_all(&chunk[..length]).is_err() {
                break;
            }
            if self.up {
                self.state.sent.fetch_add(length as u64, Ordering::SeqCst);
            }
        }
        let _ = self.to.shutdown(Shutdown::Write);
    }

    fn is_over(&self) -> bool {
        self.ends.is_some_and(|at| Instant::now() >= at)
            || self.state.away.load(Ordering::SeqCst)
            || self.state.ended.load(Ordering::SeqCst)
    }

    fn cut_off(&self) {
        if !self.cut.swap(true, Ordering::SeqCst) {
            self.state.cuts.fetch_add(1, Ordering::SeqCst);
        }
        let _ = self.from.shutdown(Shutdown::Both);
        let _ = self.to.shutdown(Shutdown::Both);
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
