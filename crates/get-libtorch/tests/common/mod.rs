//! An index of tiny wheels behind a server of this machine, and a proxy before it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use get_libtorch::{Env, Indexes, Installer, Platform, Report};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The lab sheet's machine.
pub(crate) const UBUNTU_20: Platform = Platform { os: "linux", arch: "x86_64", glibc: Some((2, 31)) };

/// What a server answers for a path.
#[derive(Clone)]
pub(crate) enum Page {
    Body(&'static str, Vec<u8>),
    Redirect(String),
    /// A file whose connections break after so many bytes, one after another; later ones hold.
    Breaking(Vec<u8>, Vec<usize>),
    /// A file of a server that does not know ranges, whose first connection breaks after so many bytes.
    WithoutRanges(Vec<u8>, Vec<usize>),
}

/// A server; it ends with the test's process.
pub(crate) struct Server {
    pub(crate) port: u16,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, pages: Arc::default(), log: Arc::default() };
        let (pages, log) = (server.pages.clone(), server.log.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (pages, log) = (pages.clone(), log.clone());
                std::thread::spawn(move || answer(stream, &pages, &log));
            }
        });
        server
    }

    /// Starts a proxy that leads every host to this server.
    pub(crate) fn proxy(&self) -> Self {
        let proxy = Self::start();
        proxy.put("CONNECT", Page::Redirect(format!("127.0.0.1:{}", self.port)));
        proxy
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Adds files to an index, with a page of PEP 503 for each project.
    pub(crate) fn index(&self, root: &str, files: &[File]) {
        let mut projects: HashMap<&str, String> = HashMap::new();
        for file in files {
            let project = file.name.split('-').next().unwrap();
            self.put(
                &format!("/files/{}", file.name.replace('+', "%2B")),
                Page::Body("application/zip", file.bytes.clone()),
            );
            projects.entry(project).or_default().push_str(&file.link("/files/"));
        }
        for (project, links) in projects {
            let page =
                Page::Body("text/html", format!("<!DOCTYPE html><html><body>{links}</body></html>").into());
            self.put(&format!("{root}/{}/", project.replace('_', "-")), page);
        }
    }

    /// Returns the requests so far: path, range and login.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn saw(&self, words: &str) -> bool {
        self.log().iter().any(|line| line.contains(words))
    }
}

fn answer(stream: TcpStream, pages: &Mutex<HashMap<String, Page>>, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let mut words = head.first()?.split(' ');
    let (method, path) = (words.next()?, words.next()?.to_owned());
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (of, value) = line.split_once(':')?;
            of.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let range = header("range");
    let seen = format!(
        "{method} {path} {} {}",
        range.clone().unwrap_or_default(),
        header("authorization").or_else(|| header("proxy-authorization")).unwrap_or_default()
    );
    log.lock().unwrap().push(seen);
    let mut stream = stream;
    if method == "CONNECT" {
        let target = pages.lock().unwrap().get("CONNECT").cloned();
        let Some(Page::Redirect(target)) = target else { return None };
        let upstream = TcpStream::connect(target).ok()?;
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        let (mut up, mut back) = (upstream.try_clone().ok()?, stream.try_clone().ok()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut reader, &mut up);
        });
        let mut upstream = upstream;
        let _ = std::io::copy(&mut upstream, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Both);
        return Some(());
    }
    let from: Option<usize> =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let page = pages.lock().unwrap().get(&path).cloned();
    let (kind, bytes, knows_ranges, stop) = match page {
        None => {
            return stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .ok();
        }
        Some(Page::Redirect(to)) => {
            let head = format!(
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return stream.write_all(head.as_bytes()).ok();
        }
        Some(Page::Body(kind, bytes)) => (kind, bytes, true, None),
        Some(Page::Breaking(bytes, mut stops)) => {
            let stop = (!stops.is_empty()).then(|| stops.remove(0));
            pages.lock().unwrap().insert(path, Page::Breaking(bytes.clone(), stops));
            ("application/zip", bytes, true, stop)
        }
        Some(Page::WithoutRanges(bytes, mut stops)) => {
            let stop = (!stops.is_empty()).then(|| stops.remove(0));
            pages.lock().unwrap().insert(path, Page::WithoutRanges(bytes.clone(), stops));
            ("application/zip", bytes, false, stop)
        }
    };
    let from = from.filter(|_| knows_ranges);
    let body = &bytes[from.unwrap_or(0).min(bytes.len())..];
    let mut head = match from {
        Some(from) if from >= bytes.len() => {
            format!("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\n", bytes.len())
        }
        Some(from) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\n",
            bytes.len() - 1,
            bytes.len()
        ),
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let _ =
        write!(head, "Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body[..stop.unwrap_or(body.len()).min(body.len())]).ok()?;
    stream.flush().ok()?;
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0; 16]);
    Some(())
}

/// A file of an index.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) yanked: Option<&'static str>,
}

impl File {
    pub(crate) fn sha256(&self) -> String {
        Sha256::digest(&self.bytes).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The entry of PEP 691.
    pub(crate) fn json(&self) -> String {
        let (name, hash, size) = (&self.name, self.sha256(), self.bytes.len());
        format!(
            r#"{{"filename": "{name}", "url": "/files/{name}", "hashes": {{"sha256": "{hash}"}}, "size": {size}}}"#
        )
    }

    /// The link of PEP 503.
    pub(crate) fn link(&self, root: &str) -> String {
        let yanked = self.yanked.map(|reason| format!(" data-yanked=\"{reason}\"")).unwrap_or_default();
        let name = self.name.replace('+', "%2B");
        format!("<a href=\"{root}{name}#sha256={}\"{yanked}>{}</a><br/>\n", self.sha256(), self.name)
    }
}

/// Makes PyTorch's wheel of a version, with Python's part in it, which nobody wants.
pub(crate) fn torch(version: &str, python: &str, requires: &[&str]) -> File {
    let name = format!("torch-{version}-{python}-{python}-manylinux_2_28_x86_64.whl");
    let full = if version.contains('+') { version.to_owned() } else { format!("{version}+cu130") };
    // Long enough to break off in the middle, and of no pattern that could be compressed.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let library: Vec<u8> = (0..200_000).map(|_| next()).collect();
    wheel(
        &name,
        requires,
        &[
            ("torch/version.py", format!("__version__ = '{full}'\n").as_bytes()),
            (&format!("torch/lib/libtorch_cpu.{}", std::env::consts::DLL_EXTENSION), &library),
            ("torch/include/torch/torch.h", b"// header"),
            ("torch/nn/modules.py", b"# python"),
        ],
    )
}

/// Makes a package of libraries.
pub(crate) fn package(name: &str, version: &str, requires: &[&str]) -> File {
    let member = format!("nvidia/{name}/lib/lib{name}.so");
    wheel(
        &format!("{name}-{version}-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"),
        requires,
        &[(&member, b"library")],
    )
}

fn wheel(name: &str, requires: &[&str], members: &[(&str, &[u8])]) -> File {
    let (project, version) =
        name.split_once('-').map(|(project, rest)| (project, rest.split('-').next().unwrap())).unwrap();
    let mut metadata = format!("Metadata-Version: 2.4\nName: {project}\nVersion: {version}\n");
    for line in requires {
        let _ = writeln!(metadata, "Requires-Dist: {line}");
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().unix_permissions(0o755);
    let about = format!("{project}-{version}.dist-info/METADATA");
    let all = members.iter().copied().chain([(about.as_str(), metadata.as_bytes())]);
    for (member, bytes) in all {
        writer.start_file(member, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    File { name: name.to_owned(), bytes: writer.finish().unwrap().into_inner(), yanked: None }
}

/// The packages that PyPI's libtorch needs on a CPU.
pub(crate) fn cpu_set() -> Vec<File> {
    vec![package("nvidia_cuda_runtime", "13.0.96", &[]), package("nvidia_cuda_cupti", "13.0.85", &[])]
}

/// Collects what is said.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Vec<String>);

impl Report for Notes {
    fn note(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn progress(&mut self, _: &str, _: u64, _: Option<u64>) {}
}

/// An installer for the lab sheet's machine.
pub(crate) fn installer(dir: &Path) -> Installer {
    Installer {
        home: dir.join(".libtorch"),
        platform: UBUNTU_20,
        free_space: |_| Some(1 << 40),
        pause: Duration::ZERO,
    }
}

/// The indexes of these variables, and of no file of this machine's pip unless `HOME` names a place; PyTorch's own index is at
/// `/whl` of the server.
pub(crate) fn indexes(server: &Server, variables: &[(&str, &str)]) -> Indexes {
    let mut all = vec![("XDG_CONFIG_DIRS", "/nowhere")];
    if variables.iter().all(|(name, _)| *name != "HOME") {
        all.push(("PIP_CONFIG_FILE", "/dev/null"));
    }
    all.extend(variables);
    Indexes::of_pip(&Env::of(&all), &server.url("/whl")).unwrap()
}
