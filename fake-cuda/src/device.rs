//! Builds the make-believe device: a library in the place of `libtorch_cuda.so`, and one in that of the driver.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use xtask::output::note;
use xtask::process;
use xtask::workspace::Workspace;

/// The sources that become `libtorch_cuda.so`.
const LIBRARY: [&str; 10] = [
    "attention",
    "operations",
    "storage",
    "twins",
    "device",
    "allocators",
    "counts",
    "graph",
    "host_reads",
    "memory",
];
const FLAGS: &str = "-std=c++17 -O1 -fPIC -D_GLIBCXX_USE_CXX11_ABI=1";
/// As the tests of the kernels compile them.
const KERNEL_FLAGS: &str = "-fno-strict-aliasing -ffp-contract=off -Wno-unknown-pragmas";

/// The built device.
#[derive(Debug)]
pub(crate) struct Device {
    home: PathBuf,
}

impl Device {
    /// Directory of a libtorch with this device: the one that was found, but for `libtorch_cuda.so`.
    pub(crate) fn libtorch(&self) -> PathBuf {
        self.home.join("torch/lib")
    }

    /// Directory of the driver's library, which runs the project's kernels in its emulator.
    pub(crate) fn driver(&self) -> PathBuf {
        self.home.join("driver")
    }

    /// Asks the device itself for what it has to refuse.
    pub(crate) fn selftest(&self) -> Result<()> {
        let mut program = Command::new(self.home.join("selftest"));
        let (held, text) =
            process::probe(program.env("LD_LIBRARY_PATH", self.libtorch())).context("no selftest")?;
        ensure!(held, "{text}");
        Ok(())
    }
}

/// Builds what is out of date in `target/fake-cuda`.
pub(crate) fn build(workspace: &Workspace) -> Result<Device> {
    let libtorch = workspace.users_libtorch().unwrap_or_else(|| workspace.own_libtorch());
    let libtorch = fs::canonicalize(&libtorch).with_context(|| format!("no `{}`", libtorch.display()))?;
    let device = Device { home: workspace.target_dir()?.join("fake-cuda") };
    let build = Build { sources: workspace.path("fake-cuda/device"), libtorch, home: &device.home };
    let stamp = device.home.join("built-from");
    let made_of = build.made_of(workspace)?;
    if fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
        return Ok(device);
    }
    note("building the make-believe device: a minute");
    if device.home.exists() {
        fs::remove_dir_all(&device.home)?;
    }
    build.run(&workspace.path("crates/kernels/cuda"))?;
    fs::write(stamp, made_of)?;
    Ok(device)
}

struct Build<'a> {
    sources: PathBuf,
    libtorch: PathBuf,
    home: &'a Path,
}

impl Build<'_> {
    fn run(&self, kernels: &Path) -> Result<()> {
        let lib = self.home.join("torch/lib");
        for dir in [&lib, &self.home.join("objects"), &self.home.join("driver")] {
            fs::create_dir_all(dir)?;
        }
        self.link_libtorch(&lib)?;
        self.compile_all()?;
        let objects = LIBRARY.iter().map(|name| self.object(name));
        let mut link = self.compiler();
        link.arg("-shared").arg("-o").arg(lib.join("libtorch_cuda.so")).args(objects);
        link.args(["-Wl,-soname,libtorch_cuda.so", "-Wl,-z,defs"]);
        run(self.with_libtorch(&mut link))?;
        let mut driver = self.compiler();
        driver.args(KERNEL_FLAGS.split(' ')).arg("-I").arg(kernels.join("emulator")).arg("-I").arg(kernels);
        driver.arg("-shared").arg("-o").arg(self.home.join("driver/libcuda.so.1"));
        driver.arg(self.sources.join("driver.cpp")).arg(lib.join("libtorch_cuda.so"));
        run(self.with_libtorch(driver.arg("-Wl,-soname,libcuda.so.1")))?;
        let mut nccl = self.compiler();
        nccl.arg("-shared").arg("-o").arg(lib.join("libnccl.so.2")).arg(self.sources.join("nccl.cpp"));
        nccl.arg(lib.join("libtorch_cuda.so"));
        run(self.with_libtorch(nccl.args(["-pthread", "-Wl,-soname,libnccl.so.2"])))?;
        let mut selftest = self.compiler();
        selftest.arg("-o").arg(self.home.join("selftest")).arg(self.sources.join("selftest.cpp"));
        run(self.with_libtorch(selftest.arg("-ldl")))
    }

    /// Makes a libtorch of links, without the libraries that are for CUDA.
    fn link_libtorch(&self, lib: &Path) -> Result<()> {
        for entry in fs::read_dir(self.libtorch.join("lib"))? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with("libtorch_cuda") {
                symlink(entry.path(), lib.join(entry.file_name()))?;
            }
        }
        // The programs read for which CUDA a libtorch is.
        fs::write(self.home.join("torch/version.py"), "cuda: Optional[str] = '13.0'\n")?;
        // NVRTC is looked for beside torch.
        let nvidia = self.libtorch.join("../nvidia");
        if nvidia.exists() {
            symlink(nvidia, self.home.join("nvidia"))?;
        }
        Ok(())
    }

    /// Compiles as many sources at a time as there are cores.
    fn compile_all(&self) -> Result<()> {
        let waiting = Mutex::new(LIBRARY.iter().rev().collect::<Vec<_>>());
        let next = || waiting.lock().ok()?.pop();
        let work = || {
            while let Some(name) = next() {
                let source = self.sources.join(name).with_extension("cpp");
                run(self.compiler().arg("-c").arg(source).arg("-o").arg(self.object(name)))?;
            }
            Ok(())
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let started: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            started.into_iter().try_for_each(|thread| thread.join().expect("a thread panicked"))
        })
    }

    fn compiler(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
        let include = self.libtorch.join("include");
        command.args(FLAGS.split(' ')).arg("-I").arg(&include);
        command
            .arg("-I")
            .arg(include.join("torch/csrc/api/include"))
            .arg("-I")
            .arg(self.home.join("objects"));
        command
    }

    fn with_libtorch<'b>(&self, command: &'b mut Command) -> &'b mut Command {
        command.arg("-L").arg(self.libtorch.join("lib")).args(["-ltorch_cpu", "-lc10"])
    }

    fn object(&self, name: &str) -> PathBuf {
        self.home.join("objects").join(name).with_extension("o")
    }

    /// Describes all that goes into a build: where libtorch lies, and every source.
    fn made_of(&self, workspace: &Workspace) -> Result<String> {
        let mut text = format!("{}\n{FLAGS}\n", self.libtorch.display());
        let kernels = workspace.path("crates/kernels/cuda");
        for dir in [&self.sources, &kernels, &kernels.join("emulator")] {
            let mut files = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            files.sort();
            for file in files.iter().filter(|file| file.is_file()) {
                writeln!(text, "// {}\n{}", file.display(), fs::read_to_string(file)?)?;
            }
        }
        Ok(text)
    }
}

/// Runs a compiler unseen, and tells what it said when it fails.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    match process::probe(command) {
        Some((true, _)) => Ok(()),
        Some((false, text)) => bail!("the C++ compiler `{}` failed: {text}", program.display()),
        None => bail!("cannot run the C++ compiler `{}`", program.display()),
    }
}
