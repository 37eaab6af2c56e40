//! Files of tensors that are written in pieces.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};

use crate::atomic_file::TempFile;
use crate::{TensorSpec, WeightsError};

/// Bytes given to the system at once. It takes much larger writes more slowly, where its file system has large folios.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes after which the disk is asked to take what was written so far.
const SYNC_BYTES: usize = 64 << 20;

/// Bytes that a format puts around the elements of its tensors.
pub(crate) trait Framing: std::fmt::Debug + Send {
    /// Returns the bytes before the elements of tensor `index`.
    fn before(&mut self, file: &mut TempFile, index: usize) -> Result<(), WeightsError>;

    /// Returns the bytes of some elements, as the format stores them; `bytes` are those of libtorch.
    fn write(&mut self, file: &mut TempFile, index: usize, bytes: &[u8]) -> Result<(), WeightsError>;

    /// Returns the bytes behind the last tensor.
    fn end(&mut self, file: &mut TempFile) -> Result<(), WeightsError>;
}

/// A file of tensors in the making: its layout is decided, its elements come one tensor after another, each in pieces
/// along its first dimension. So a file of any size is written with one piece in memory. It appears complete or not at
/// all, at [`TensorStream::finish`].
#[derive(Debug)]
pub struct TensorStream {
    path: PathBuf,
    file: TempFile,
    /// In the order in which they are written. The kind is that of the pieces.
    specs: Vec<TensorSpec>,
    framing: Box<dyn Framing>,
    /// The tensor being written, and how many of its rows are still to come.
    current: Option<(usize, i64)>,
    unsynced: usize,
    behind: SyncBehind,
}

impl TensorStream {
    pub(crate) fn new(
        path: PathBuf,
        num_bytes: u64,
        specs: Vec<TensorSpec>,
        framing: Box<dyn Framing>,
    ) -> Result<Self, WeightsError> {
        let file = TempFile::create(&path, num_bytes)?;
        let behind = SyncBehind::start(&file).map_err(|source| file.failure(source))?;
        Ok(Self { path, file, specs, framing, current: None, unsynced: 0, behind })
    }

    /// Returns the tensors in the order in which they have to come.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// Writes the next rows of tensor `name`: `[rows, ..]`, or a whole tensor without dimensions.
    ///
    /// # Errors
    /// [`WeightsError::NotAsAnnounced`] when it is not this tensor's turn, or the piece is of another kind or shape;
    /// [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the disk refuses.
    pub fn write(&mut self, name: &str, piece: &Tensor) -> Result<(), WeightsError> {
        let (index, left) = match self.current {
            Some((index, left)) if left > 0 => (index, left),
            other => {
                let index = other.map_or(0, |(index, _)| index + 1);
                self.begin(index)?;
                let Some(spec) = self.specs.get(index) else {
                    return Err(self.unlike(name, "one more tensor", "the end of the file"));
                };
                (index, spec.shape.first().copied().unwrap_or(1))
            }
        };
        let spec = &self.specs[index];
        if spec.name != name {
            return Err(self.unlike(name, &format!("`{name}`"), &format!("`{}`", spec.name)));
        }
        let (kind, shape) = (piece.f_kind().op("kind")?, piece.size());
        let rows = shape.first().copied().unwrap_or(1);
        let fits = shape.len() == spec.shape.len() && shape.iter().skip(1).eq(spec.shape.iter().skip(1));
        if kind != spec.kind || !fits || rows > left {
            let (actual, expected) =
                (TensorSpec::describe(kind, &shape), TensorSpec::describe(spec.kind, &spec.shape));
            return Err(self.unlike(name, &actual, &expected));
        }
        self.current = Some((index, left - rows));
        self.copy(index, kind, piece)
    }

    /// Moves on to tensor `index`; those without elements get no piece.
    fn begin(&mut self, index: usize) -> Result<(), WeightsError> {
        if index < self.specs.len() {
            self.framing.before(&mut self.file, index)?;
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "a tensor as the bytes it holds")]
    fn copy(&mut self, index: usize, kind: Kind, piece: &Tensor) -> Result<(), WeightsError> {
        let piece = piece.f_detach().op("detach")?.f_to_device(Device::Cpu).op("to_device")?;
        let elements = piece.f_contiguous().op("contiguous")?;
        let len = elements.numel() * kind.elt_size_in_bytes();
        if len == 0 {
            return Ok(());
        }
        // SAFETY: a contiguous tensor on the CPU, which lives until the end of this function and which nobody writes to.
        let bytes = unsafe { std::slice::from_raw_parts(elements.data_ptr().cast::<u8>(), len) };
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.framing.write(&mut self.file, index, chunk)?;
            self.unsynced += chunk.len();
            if self.unsynced >= SYNC_BYTES {
                self.unsynced = 0;
                self.behind.ask();
            }
        }
        Ok(())
    }

    /// Brings the content to the disk and gives the file its name.
    ///
    /// # Errors
    /// [`WeightsError::NotAsAnnounced`] when tensors are missing; [`WeightsError::DiskFull`] or
    /// [`WeightsError::Write`] when the disk refuses.
    pub fn finish(mut self) -> Result<(), WeightsError> {
        let done = match self.current {
            Some((index, 0)) => index + 1,
            Some((index, left)) => {
                let name = self.specs[index].name.clone();
                return Err(self.unlike(&name, &format!("without its last {left} rows"), "all of it"));
            }
            None => 0,
        };
        if let Some(spec) = self.specs.get(done) {
            return Err(self.unlike(&spec.name, "missing", "the next tensor"));
        }
        self.framing.end(&mut self.file)?;
        self.behind.join().map_err(|source| self.file.failure(source))?;
        self.file.commit()
    }

    fn unlike(&self, name: &str, actual: &str, expected: &str) -> WeightsError {
        WeightsError::NotAsAnnounced {
            path: self.path.clone(),
            name: name.to_owned(),
            actual: actual.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// A thread that brings a file to the disk while it is still being written, so that the end of it is not one long wait.
#[derive(Debug)]
struct SyncBehind {
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl SyncBehind {
    fn start(file: &TempFile) -> io::Result<Self> {
        let file: File = file.handle()?;
        let (ask, asked) = sync_channel(1);
        let work = move || asked.iter().try_for_each(|()| file.sync_data());
        let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(work)?;
        Ok(Self { ask: Some(ask), thread: Some(thread) })
    }

    /// Asks once more, unless that is still to be done.
    fn ask(&self) {
        match self.ask.as_ref().map(|ask| ask.try_send(())) {
            // A thread that failed is heard when it is joined.
            None | Some(Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(()))) => {}
        }
    }

    /// Waits for the thread. The system tells of a failed write once, so what it was told counts.
    fn join(&mut self) -> io::Result<()> {
        self.ask = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(outcome) => {
                outcome.unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")))
            }
        }
    }
}

impl Drop for SyncBehind {
    fn drop(&mut self) {
        // Only on the way out of a failure, which is the one worth reporting.
        let _ = self.join();
    }
}
