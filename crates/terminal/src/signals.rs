//! Ctrl-C, SIGTERM and SIGHUP: the first asks for an end in order, the second ends the process.
//!
//! The handler does two things that a handler may do (signal-safety(7)): it sets a flag and writes a byte to a pipe. All else
//! happens on a thread that reads the pipe, so that a message that nobody reads, or a lock that the interrupted code
//! holds, keeps no second signal waiting.

use std::io::{PipeWriter, Read, Result};
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, sighandler_t};

/// Exit code of a program that a signal ended.
const INTERRUPTED: c_int = 130;

/// An end was asked for: the next signal is the second.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Wakes the thread that acts on the first signal.
static WAKE: OnceLock<PipeWriter> = OnceLock::new();

/// Calls `act` on a thread of its own when the first signal comes.
///
/// # Errors
/// When the handler cannot be installed.
pub fn on_first_signal(act: impl FnOnce() + Send + 'static) -> Result<()> {
    let (mut reader, writer) = std::io::pipe()?;
    if WAKE.set(writer).is_err() {
        return Err(std::io::Error::other("cannot listen for Ctrl-C: it is listened for already"));
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if reader.read_exact(&mut [0]).is_ok() {
            act();
        }
    })?;
    install()
}

/// A wish to end that can be made again and again: by a signal while something [is asked for](Interrupt::begin); at other
/// times a signal ends the process.
#[derive(Debug)]
pub struct Interrupt {
    requested: &'static AtomicBool,
}

impl Interrupt {
    /// Listens for signals.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub fn listen() -> Result<Self> {
        let interrupt = Self { requested: &REQUESTED };
        interrupt.end();
        install()?;
        Ok(interrupt)
    }

    /// Makes the first signal from here on a wish, and no end.
    pub fn begin(&self) {
        self.requested.store(false, Ordering::SeqCst);
    }

    /// Lets a signal from here on end the process.
    pub fn end(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Checks for the wish.
    pub fn is_asked(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}

/// Makes a write beyond the largest size of a file (`ulimit -f`) fail, as one to a full disk does, instead of ending the
/// process.
#[expect(unsafe_code, reason = "no safe way in the standard library")]
pub fn survive_file_size_limit() {
    // SAFETY: ignoring a signal installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

extern "C" fn handle(signal: c_int) {
    if !REQUESTED.swap(true, Ordering::SeqCst) {
        wake();
    } else if signal != libc::SIGHUP {
        // A closing terminal may tell so more than once, which is nobody's insistence.
        end_at_once();
    }
}

#[expect(unsafe_code, reason = "the standard library does not say which of its functions a handler may call")]
fn wake() {
    if let Some(wake) = WAKE.get() {
        // SAFETY: async-signal-safe; the pipe lives as long as the process, and one byte never finds it full.
        unsafe { libc::write(wake.as_raw_fd(), [0_u8].as_ptr().cast(), 1) };
    }
}

#[expect(unsafe_code, reason = "`exit` would take libtorch down under the threads that run in it")]
fn end_at_once() -> ! {
    // SAFETY: async-signal-safe. Files on the disk are whole at any moment.
    unsafe { libc::_exit(INTERRUPTED) }
}

fn install() -> Result<()> {
    let all = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().try_for_each(listen_for);
    all.map_err(|error| std::io::Error::new(error.kind(), format!("cannot listen for Ctrl-C: {error}")))
}

#[expect(unsafe_code, reason = "no safe way in the standard library")]
fn listen_for(signal: c_int) -> Result<()> {
    // SAFETY: the structures are plain data of which zero is a value, and `handle` is async-signal-safe.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut now) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // `nohup` ignores it, and means it.
        if signal == libc::SIGHUP && now.sa_sigaction == libc::SIG_IGN {
            return Ok(());
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(c_int) as *const () as sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        if libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}
