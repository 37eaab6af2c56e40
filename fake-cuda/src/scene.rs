//! Programs under test, and the machines that they see.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use xtask::workspace::Workspace;

use crate::device::Device;

/// Time for one program.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a program sees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Machine {
    /// No GPU.
    Cpu,
    /// As many make-believe GPUs, without the driver that kernels of one's own need.
    Gpus(u32),
    /// One, with the driver and NVRTC.
    Kernels,
}

/// The scratch directory, the programs, the device and the embedded model.
#[derive(Debug)]
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    bin: PathBuf,
    root: PathBuf,
    libtorch: PathBuf,
    driver: PathBuf,
    nvrtc: Option<PathBuf>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scene {
    pub(crate) fn new(
        workspace: &Workspace,
        bin: &Path,
        device: &Device,
        nvrtc: Option<PathBuf>,
    ) -> Result<Self> {
        let bin = fs::canonicalize(bin).with_context(|| format!("no `{}`", bin.display()))?;
        let scene = Self {
            dir: tempfile::tempdir().context("cannot make a scratch directory")?,
            bin,
            root: workspace.root.clone(),
            libtorch: device.libtorch(),
            driver: device.driver(),
            nvrtc,
        };
        scene.write_inputs()?;
        Ok(scene)
    }

    /// Writes small inputs: the first records of the embedded world, prompts, a text.
    fn write_inputs(&self) -> Result<()> {
        let text = fs::read_to_string(self.root.join("datasets/records/test.json"))?;
        let records: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        let first = records.get(..6).context("fewer than 6 records")?;
        fs::write(self.path("records.json"), serde_json::to_string(first)?)?;
        let prompts: Vec<String> = first.iter().map(ToString::to_string).collect();
        fs::write(self.path("prompts.jsonl"), prompts.join("\n"))?;
        let line = "Hugo is in the house, and the ball is in the box. Where is the ball? It is in the box.\n";
        fs::write(self.path("corpus.txt"), line.repeat(200))?;
        let pretrain = "preset = \"tiny\"\nseq_len = 64\ndtype = \"float32\"\n[train]\nmicro_batch_size = 2\n\
                        gradient_accumulation_steps = 1\nmax_steps = 3\nlogging_steps = 1\nwarmup_steps = 1\n";
        fs::write(self.path("pretrain.toml"), pretrain)?;
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Tells if NVRTC is there, so that kernels can be compiled.
    pub(crate) fn has_kernels(&self) -> bool {
        self.nvrtc.is_some()
    }

    /// Puts a program in front of a machine.
    pub(crate) fn see(&self, command: &mut Command, machine: Machine) {
        let mut path = Vec::new();
        if machine != Machine::Cpu {
            path.push(self.libtorch.clone());
        }
        if machine == Machine::Kernels {
            path.push(self.driver.clone());
            command.envs(self.nvrtc.iter().map(|library| ("NVRTC_LIBRARY", library)));
        } else {
            command.env("NVRTC_LIBRARY", "/nonexistent");
        }
        let before = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        path.extend(std::env::split_paths(&before));
        if let Ok(path) = std::env::join_paths(path) {
            command.env("LD_LIBRARY_PATH", path);
        }
        let count = match machine {
            Machine::Gpus(count) => count,
            Machine::Cpu => 1,
            Machine::Kernels => 2,
        };
        command.env("FAKE_CUDA_DEVICES", count.to_string());
        command.envs(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"].map(|name| (name, "1")));
    }

    /// Makes a call of a program in the scratch directory. Words in braces of `args` stand for paths and texts.
    pub(crate) fn program(&self, name: &str, args: &str, machine: Machine) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(self.dir.path()).env("NO_COLOR", "1");
        self.see(&mut command, machine);
        let base = self.root.join("datasets/tiny-llama").to_string_lossy().into_owned();
        let data = self.root.join("datasets/mini_data.json").to_string_lossy().into_owned();
        command.args(args.split(' ').map(|word| match word {
            "{base}" => base.clone(),
            "{data}" => data.clone(),
            "{prompt}" => "Hugo is at the house. Where is Hugo?".to_owned(),
            word => word.to_owned(),
        }));
        command
    }

    /// Waits for the end of a program; one that does not end is stopped.
    pub(crate) fn run(&self, mut command: Command) -> Result<Ended> {
        let (out, err) = (self.path("stdout"), self.path("stderr"));
        command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?);
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                break child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |path| anyhow::Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned());
        Ok(Ended { code: status.code(), stdout: text(out)?, stderr: text(err)? })
    }
}

impl Ended {
    /// Checks for a good end, without a panic on any thread and without libtorch's own warnings.
    pub(crate) fn ok(self) -> Result<Self> {
        ensure!(self.code == Some(0), "ended with {:?}: {}", self.code, self.stderr);
        ensure!(!self.stderr.contains("panicked"), "panicked: {}", self.stderr);
        ensure!(!self.stderr.contains("[W"), "libtorch warns: {}", self.stderr);
        Ok(self)
    }

    /// Checks for an end in order: done, or one last line that says what was wrong.
    pub(crate) fn in_order(&self) -> Result<()> {
        ensure!(!self.stderr.contains("panicked"), "panicked: {}", self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        let told = self.code == Some(1) && last.starts_with("error: ");
        ensure!(self.code == Some(0) || told, "ended with {:?} and `{last}`", self.code);
        Ok(())
    }
}
