//! The Python wheel: the programs for whoever has PyTorch 2.11.0 from pip, which brings libtorch and CUDA.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use xtask::workspace::Workspace;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::archive::programs;
use super::built::{ALL_IN_ONE, Built};
use super::files::{below, copy, empty, put};
use super::licences;

/// Name of the package, as Python imports it.
const PACKAGE: &str = "llama_finetuning";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Any Python 3, Linux on x86-64 with glibc 2.28 or newer.
const TAG: &str = "py3-none-manylinux_2_28_x86_64";

/// Returns the wheel's file name, which installers read.
pub(crate) fn file_name() -> String {
    format!("{PACKAGE}-{VERSION}-{TAG}.whl")
}

/// Writes the wheel.
///
/// # Errors
/// When a part is missing or the file cannot be written.
pub(crate) fn write(workspace: &Workspace, built: &Built, wheel: &Path) -> Result<()> {
    let dir = empty(&wheel.with_extension("parts"))?;
    lay_out(workspace, built, &dir)?;
    pack(&dir, wheel)?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove `{}`", dir.display()))
}

fn lay_out(workspace: &Workspace, built: &Built, dir: &Path) -> Result<()> {
    let (package, about) = (dir.join(PACKAGE), dir.join(format!("{PACKAGE}-{VERSION}.dist-info")));
    copy(&built.program, &package.join("bin").join(ALL_IN_ONE))?;
    for name in ["__init__.py", "__main__.py"] {
        copy(&workspace.path("xtask/package/python").join(name), &package.join(name))?;
    }
    for name in ["demo.toml", "mini_data.json", "records", "tiny-llama"] {
        copy(&workspace.path("datasets").join(name), &package.join("datasets").join(name))?;
    }
    copy(&workspace.path("LICENSE"), &about.join("licenses/LICENSE"))?;
    licences::of_crates(workspace, &about.join("licenses"))?;
    put(&about.join("METADATA"), &metadata())?;
    put(
        &about.join("WHEEL"),
        &format!("Wheel-Version: 1.0\nGenerator: cargo xtask package\nRoot-Is-Purelib: false\nTag: {TAG}\n"),
    )?;
    put(&about.join("entry_points.txt"), &entry_points(&programs(workspace)?))
}

fn metadata() -> String {
    format!(
        "Metadata-Version: 2.1\nName: llama-finetuning\nVersion: {VERSION}\nSummary: LoRA and QLoRA fine-tuning of LLaMA, Qwen2 and Qwen3 \
         models: programs in Rust on PyTorch's libtorch\nLicense: Apache-2.0\nRequires-Python: >=3.9\nRequires-Dist: torch=={}\n",
        get_libtorch::VERSION
    )
}

fn entry_points(programs: &[String]) -> String {
    let mut text = String::from("[console_scripts]\n");
    for name in std::iter::once(ALL_IN_ONE).chain(programs.iter().map(String::as_str)) {
        let _ = writeln!(text, "{name} = {PACKAGE}:main");
    }
    text
}

/// Packs `dir` into `wheel`, with the list of its files and their digests.
fn pack(dir: &Path, wheel: &Path) -> Result<()> {
    let file = File::create(wheel).with_context(|| format!("cannot create `{}`", wheel.display()))?;
    let mut zip = ZipWriter::new(file);
    let record = format!("{PACKAGE}-{VERSION}.dist-info/RECORD");
    let mut rows = String::new();
    for path in below(dir)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        let mode = if path.ends_with(Path::new("bin").join(ALL_IN_ONE)) { 0o755 } else { 0o644 };
        zip.start_file(&name, SimpleFileOptions::default().unix_permissions(mode))?;
        zip.write_all(&bytes)?;
        let _ = writeln!(rows, "{name},sha256={},{}", base64_url(&Sha256::digest(&bytes)), bytes.len());
    }
    let _ = writeln!(rows, "{record},,");
    zip.start_file(&record, SimpleFileOptions::default().unix_permissions(0o644))?;
    zip.write_all(rows.as_bytes())?;
    zip.finish().map(drop).with_context(|| format!("cannot write `{}`", wheel.display()))
}

/// Unpacks a wheel.
///
/// # Errors
/// When it is damaged, or a file cannot be written.
pub(crate) fn unpack(wheel: &Path, into: &Path) -> Result<()> {
    let file = File::open(wheel).with_context(|| format!("cannot open `{}`", wheel.display()))?;
    ZipArchive::new(file)?.extract(into).with_context(|| format!("cannot unpack `{}`", wheel.display()))
}

/// Writes bytes as base64 for URLs, without padding, as a wheel's RECORD has digests (PEP 376, PEP 427).
fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use xtask::process::{capture, succeeds};
    use xtask::python::PYTHON;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let known = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("\u{fb}\u{fb}", "w7vDuw"),
        ];
        for (bytes, text) in known {
            assert_eq!(base64_url(bytes.as_bytes()), text);
        }
        assert_eq!(base64_url(&[0xfb, 0xff]), "-_8");
    }

    /// Installs the wheel as pip unpacks it, beside a stand-in for PyTorch, and starts its entry points.
    #[test]
    fn the_entry_points_of_a_wheel_start_the_program_by_their_names_and_refuse_another_pytorch() {
        if !succeeds(Command::new(PYTHON).arg("--version")) {
            eprintln!("skipped: the_entry_points_of_a_wheel_start_… needs {PYTHON}");
            return;
        }
        let workspace =
            Workspace { root: Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned() };
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        // Says how it was called.
        fs::write(&program, "#!/bin/sh\necho \"$0 $@\"\n").unwrap();
        let built = Built { program, manuals: dir.path().to_owned(), torch: dir.path().to_owned() };
        let wheel = dir.path().join(file_name());
        write(&workspace, &built, &wheel).unwrap();
        let site = dir.path().join("site");
        unpack(&wheel, &site).unwrap();
        let start = |torch: &str| {
            fs::create_dir_all(site.join("torch")).unwrap();
            fs::write(site.join("torch/__init__.py"), "raise SystemExit('imported')").unwrap();
            fs::write(site.join("torch/version.py"), format!("__version__ = '{torch}'\n")).unwrap();
            let script = "import sys; sys.argv = ['/venv/bin/finetune', '--plan']; import llama_finetuning; llama_finetuning.main()";
            Command::new(PYTHON).args(["-c", script]).env("PYTHONPATH", &site).output().unwrap()
        };
        let done = start("2.11.0+cu130");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && said.trim_end().ends_with(" --plan"), "{said}");
        let refused = start("2.10.0");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("2.10.0") && said.contains("torch==2.11.0"),
            "{said}"
        );
        let check = "import sys, zipfile; print('\\n'.join(zipfile.ZipFile(sys.argv[1]).namelist()))";
        let names = capture(Command::new(PYTHON).args(["-c", check]).arg(&wheel)).unwrap();
        assert!(
            names.contains("llama_finetuning/bin/llama-ft") && names.contains(".dist-info/RECORD"),
            "{names}"
        );
    }
}
