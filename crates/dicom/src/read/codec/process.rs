//! A child process that is asked over pipes: started when it is needed, watched while it answers, started anew after it died.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use super::host::CodecLimits;
use super::wire::Greeting;
use crate::read::CodecFailure;

/// How to start the child, and the child.
///
/// It gets no environment. One process belongs to one thread at a time.
pub(crate) struct ChildProcess {
    program: PathBuf,
    args: Vec<OsString>,
    limits: CodecLimits,
    running: Option<Running>,
}

struct Running {
    child: Arc<Mutex<Child>>,
    pipes: Pipes,
}

/// The two ends that the parent holds.
pub(crate) struct Pipes {
    pub(crate) input: ChildStdin,
    pub(crate) output: ChildStdout,
}

impl ChildProcess {
    pub(crate) const fn new(program: PathBuf, args: Vec<OsString>, limits: CodecLimits) -> Self {
        Self { program, args, limits, running: None }
    }

    /// One of its own for another thread.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.program.clone(), self.args.clone(), self.limits)
    }

    /// The process id of the child, while there is one.
    pub(crate) fn id(&self) -> Option<u32> {
        self.running.as_ref().map(|r| lock(&r.child).id())
    }

    /// Asks the child. Of `talk` the outer error is a dead pipe; the inner one an answer that says no or does not fit.
    pub(crate) fn ask<T>(
        &mut self,
        talk: impl FnOnce(&mut Pipes) -> io::Result<Result<T, CodecFailure>>,
    ) -> Result<T, CodecFailure> {
        let mut running = match self.running.take() {
            // One that died while nobody asked (killed from outside, for example) is replaced.
            Some(running) if !matches!(lock(&running.child).try_wait(), Ok(Some(_))) => running,
            _ => self.start().map_err(CodecFailure::Start)?,
        };
        let watchdog = Watchdog::start(Arc::clone(&running.child), self.limits.wall);
        let asked = talk(&mut running.pipes);
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
        Ok(Running { child: Arc::new(Mutex::new(child)), pipes: Pipes { input, output } })
    }
}

impl Running {
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
