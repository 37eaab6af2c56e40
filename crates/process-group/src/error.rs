//! Failures of a group.

use std::io;

use torch_ext::ExtError;

use crate::launcher::Launcher;

/// A failure of a group of processes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Some of a launcher's variables are set, and others are not.
    #[error(
        "{found} is set and {missing} is not: {launcher} sets both for each process; unset {found} to run one process"
    )]
    HalfSet {
        /// Who sets them.
        launcher: Launcher,
        /// A variable that is set.
        found: &'static str,
        /// One that is not.
        missing: String,
    },
    /// A launcher's variable that cannot be what it says.
    #[error("{name} is `{actual}`; expected {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        actual: String,
        /// The values that it can have.
        expected: String,
    },
    /// The processes do not find each other.
    #[error(
        "{}: MASTER_ADDR and MASTER_PORT have to be the machine of rank 0, as the others reach it, and a port that is free there",
        if *serve { format!("cannot listen at port {port}") } else { format!("nobody answers at {host}:{port}") }
    )]
    Meeting {
        /// This process was to listen.
        serve: bool,
        /// The machine.
        host: String,
        /// The port.
        port: u16,
        /// libtorch's reason.
        #[source]
        source: ExtError,
    },
    /// A process that did not come.
    #[error("rank {rank} of {world_size} processes has not come within {seconds} s")]
    Missing {
        /// The process.
        rank: usize,
        /// Number of processes.
        world_size: usize,
        /// Time that it was waited for.
        seconds: u64,
    },
    /// Another process has failed or is gone.
    #[error("{message}")]
    Left {
        /// The process, where it is known.
        rank: Option<usize>,
        /// Its end, in words.
        message: String,
    },
    /// Processes that are about to do different things.
    #[error("rank {rank} has {what} {actual}, and rank 0 has {expected}; {advice}")]
    Differs {
        /// The first process that differs.
        rank: usize,
        /// The thing.
        what: String,
        /// The thing in that process.
        actual: String,
        /// The thing in process 0.
        expected: String,
        /// A way out, as the end of a sentence.
        advice: &'static str,
    },
    /// NVIDIA's collectives are not there.
    #[error(
        "processes on GPUs sum by NVIDIA's NCCL, and there is no libnccl.so.2 (`cargo xtask setup --cuda` brings it): {reason}"
    )]
    NoNccl {
        /// The dynamic linker's words.
        reason: String,
    },
    /// NCCL refused.
    #[error("NCCL failed in `{function}`: {reason} (NCCL_DEBUG=WARN in the environment makes it say more)")]
    Nccl {
        /// Its function.
        function: &'static str,
        /// Its words.
        reason: String,
    },
    /// A tensor that cannot be summed over processes.
    #[error("tensors {what} cannot be summed over processes on GPUs")]
    Tensor {
        /// The tensors.
        what: String,
    },
    /// A group that is used after it has failed.
    #[error("the group of processes has failed before")]
    Over,
    /// A device without collectives.
    #[error("processes cannot sum tensors on {device}")]
    Device {
        /// The device.
        device: String,
    },
    /// A process could not be started.
    #[error("cannot start process {rank} of {world_size}")]
    Start {
        /// The process.
        rank: usize,
        /// Number of processes.
        world_size: usize,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The thread that watches the others could not be started.
    #[error("no thread to watch the other processes with")]
    Thread(#[source] io::Error),
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] ExtError),
}

impl GroupError {
    /// Tells whether the environment that the caller gave is wrong, rather than the group failing.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::HalfSet { .. } | Self::Variable { .. } | Self::Differs { .. })
    }
}
