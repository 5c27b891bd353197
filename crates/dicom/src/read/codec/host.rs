//! The parent's side of the codec process: starts it, asks it, doubts its answers, and survives its death.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use overread_domain::{GridSize, Samples};

use super::Decoded;
use super::wire::{Answer, Greeting, Question};
use crate::read::CodecFailure;

/// What one codec process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecLimits {
    /// Address space of the process.
    pub memory_bytes: u64,
    /// Processor time for one frame.
    pub cpu_seconds: u64,
    /// Time for one frame, after which the process is killed.
    pub wall: Duration,
}

impl Default for CodecLimits {
    fn default() -> Self {
        Self { memory_bytes: 4 << 30, cpu_seconds: 60, wall: Duration::from_secs(120) }
    }
}

/// Runs the codecs that are not memory-safe in a child process.
///
/// The child is started for the first frame that needs it, serves many, and is started anew after it
/// died or was killed. It gets no environment. One host belongs to one thread at a time.
pub struct CodecHost {
    program: PathBuf,
    args: Vec<OsString>,
    limits: CodecLimits,
    running: Option<Running>,
}

struct Running {
    child: Arc<Mutex<Child>>,
    input: ChildStdin,
    output: ChildStdout,
}

/// What the host knows of the answer before it has asked.
pub(crate) struct Expected {
    pub(crate) size: GridSize,
    pub(crate) components: u16,
    pub(crate) precision: u16,
}

impl CodecHost {
    /// A host that runs `program args…` and expects it to call [`super::worker::codec_worker_main`].
    pub fn new(program: PathBuf, args: Vec<OsString>, limits: CodecLimits) -> Self {
        Self { program, args, limits, running: None }
    }

    /// The process id of the child, while there is one.
    pub fn child_id(&self) -> Option<u32> {
        self.running.as_ref().map(|r| lock(&r.child).id())
    }

    /// Decodes a frame in the child.
    pub(crate) fn decode(
        &mut self,
        question: Question,
        bytes: &[u8],
        expected: &Expected,
    ) -> Result<Decoded, CodecFailure> {
        let mut running = match self.running.take() {
            // One that died while nobody asked (killed from outside, for example) is replaced.
            Some(running) if !matches!(lock(&running.child).try_wait(), Ok(Some(_))) => running,
            _ => self.start().map_err(CodecFailure::Start)?,
        };
        let watchdog = Watchdog::start(Arc::clone(&running.child), self.limits.wall);
        let asked = running.ask(question, bytes, expected);
        let killed = watchdog.stop();
        match asked {
            Ok(answer) => {
                // A refusal leaves the child healthy; a wrong answer does not.
                if !matches!(answer, Err(CodecFailure::Answer(_))) {
                    self.running = Some(running);
                }
                answer
            }
            Err(_) if killed => Err(CodecFailure::TimedOut { seconds: self.limits.wall.as_secs() }),
            Err(error) => Err(CodecFailure::Crashed { status: running.end(&error) }),
        }
    }

    fn start(&self) -> io::Result<Running> {
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        // Frames are megabytes; the default of 64 KiB means a switch between processes for each. Only a wish.
        let _ = rustix::pipe::fcntl_setpipe_size(&input, 1 << 20);
        let _ = rustix::pipe::fcntl_setpipe_size(&output, 1 << 20);
        let greeting =
            Greeting { memory_bytes: self.limits.memory_bytes, cpu_seconds: self.limits.cpu_seconds };
        // A child that is dead already is told by the question that follows.
        let _ = greeting.write(&mut input);
        Ok(Running { child: Arc::new(Mutex::new(child)), input, output })
    }
}

impl Running {
    /// The outer error is a dead pipe; the inner one an answer that says no or does not fit.
    fn ask(
        &mut self,
        question: Question,
        bytes: &[u8],
        expected: &Expected,
    ) -> io::Result<Result<Decoded, CodecFailure>> {
        question.write(&mut self.input)?;
        self.input.write_all(bytes)?;
        self.input.flush()?;
        let answer = Answer::read(&mut self.output)?;
        if !answer.ok {
            if answer.bytes > 4096 {
                return Ok(Err(CodecFailure::Answer("a refusal of more than 4096 bytes".to_owned())));
            }
            let mut text = vec![0; answer.bytes as usize];
            self.output.read_exact(&mut text)?;
            return Ok(Err(CodecFailure::Refused(String::from_utf8_lossy(&text).into_owned())));
        }
        if let Err(why) = expected.check(&answer) {
            return Ok(Err(CodecFailure::Answer(why)));
        }
        let n = answer.bytes as usize / usize::from(answer.width);
        let samples = match answer.width {
            1 => {
                let mut v = vec![0u8; n];
                self.output.read_exact(&mut v)?;
                Samples::U8(v)
            }
            2 => {
                let mut v = vec![0u16; n];
                self.output.read_exact(bytemuck::cast_slice_mut(&mut v))?;
                Samples::U16(v)
            }
            _ => {
                let mut v = vec![0u32; n];
                self.output.read_exact(bytemuck::cast_slice_mut(&mut v))?;
                Samples::U32(v)
            }
        };
        Ok(Ok(Decoded { size: expected.size, samples }))
    }

    /// Ends the child for good and says how it went.
    fn end(&mut self, error: &io::Error) -> String {
        let mut child = lock(&self.child);
        // A child whose pipe broke is dead or dying; one that is neither is killed.
        for _ in 0..50 {
            if let Ok(Some(status)) = child.try_wait() {
                return describe(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.kill();
        match child.wait() {
            Ok(status) => describe(status),
            Err(_) => error.kind().to_string(),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    status.to_string()
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Expected {
    fn check(&self, answer: &Answer) -> Result<(), String> {
        let width = match self.precision {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        };
        let wanted = (self.size.columns, self.size.rows, self.components, width);
        let got = (answer.columns, answer.rows, answer.components, answer.width);
        let bytes = self.size.pixels() * u64::from(self.components) * u64::from(width);
        if wanted != got || bytes != answer.bytes {
            return Err(format!(
                "{}×{} pixels of {}×{} bytes instead of {}×{} of {}×{}",
                got.0, got.1, got.2, got.3, wanted.0, wanted.1, wanted.2, wanted.3
            ));
        }
        Ok(())
    }
}

/// Kills the child if it is not stopped in time.
struct Watchdog {
    done: mpsc::Sender<()>,
    killed: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watchdog {
    fn start(child: Arc<Mutex<Child>>, wall: Duration) -> Self {
        let (done, wait) = mpsc::channel();
        let killed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&killed);
        let thread = std::thread::spawn(move || {
            if wait.recv_timeout(wall) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::SeqCst);
                let _ = lock(&child).kill();
            }
        });
        Self { done, killed, thread }
    }

    /// Whether it had to kill.
    fn stop(self) -> bool {
        let _ = self.done.send(());
        let _ = self.thread.join();
        self.killed.load(Ordering::SeqCst)
    }
}
