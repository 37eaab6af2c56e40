//! libtorch from indexes behind a server of this machine: what is asked for, what is refused, what is kept.

mod common;

use std::fs;

use common::{File, Notes, Page, Server, cpu_set, indexes, installer, package, torch};
use get_libtorch::{Build, GetError, Indexes, Installer, Silent, check};

/// PyPI as far as this test needs it: PyTorch for two Pythons, and what libtorch needs on a CPU.
fn pypi(server: &Server) -> Vec<File> {
    let files = [
        vec![torch("2.11.0", "cp310", &[]), torch("2.11.0", "cp313", &[]), torch("2.12.0", "cp310", &[])],
        cpu_set(),
    ];
    let files = files.concat();
    server.index("/simple", &files);
    files
}

fn install(dir: &tempfile::TempDir, build: Build, indexes: &Indexes) -> Result<String, GetError> {
    installer(dir.path()).install(build, indexes, &mut Silent)
}

#[test]
fn libtorch_and_what_it_needs_come_from_pips_index() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    pypi(&server);
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple/"))]);
    let mut notes = Notes::default();
    let version = installer(dir.path()).install(Build::Cpu, &from, &mut notes).unwrap();
    assert_eq!(version, "2.11.0+cu130");
    let home = dir.path().join(".libtorch");
    assert_eq!(check(&home.join("torch")), Ok(version));
    for name in [
        "torch/include/torch/torch.h",
        "nvidia/nvidia_cuda_runtime/lib/libnvidia_cuda_runtime.so",
        "torch-2.11.0.dist-info",
    ] {
        assert!(home.join(name).exists(), "{name}");
    }
    assert!(!home.join("torch/nn").exists());
    assert!(
        !dir.path().join(".libtorch.downloads").exists() && !dir.path().join(".libtorch.partial").exists()
    );
    let plan = notes.0.iter().find(|line| line.contains("to download")).unwrap();
    assert!(plan.contains("3 files") && plan.contains("on disk") && plan.contains("free"), "{plan}");
    let first = server.log().iter().position(|line| line.contains("cp310-cp310")).unwrap();
    assert!(first > 0 && !server.saw("cp313") && !server.saw("/whl/"), "{:?}", server.log());
}

#[test]
fn a_mirror_is_named_by_pips_file_by_a_variable_or_by_links() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    let links: String = files.iter().map(|file| file.link("/files/")).collect();
    server.put("/links/", Page::Body("text/html; charset=utf-8", links.into()));
    fs::create_dir_all(dir.path().join(".config/pip")).unwrap();
    let conf = format!("[global]\nindex-url = {}\n", server.url("/simple"));
    fs::write(dir.path().join(".config/pip/pip.conf"), conf).unwrap();
    let directory = dir.path().join("wheels");
    fs::create_dir(&directory).unwrap();
    for file in &files {
        fs::write(directory.join(&file.name), &file.bytes).unwrap();
    }
    let home = dir.path().display().to_string();
    for variables in [
        vec![("HOME", home.as_str())],
        vec![("PIP_INDEX_URL", &server.url("/nothing")), ("PIP_EXTRA_INDEX_URL", &server.url("/simple"))],
        vec![("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", &server.url("/links/"))],
        vec![("PIP_NO_INDEX", "yes"), ("PIP_FIND_LINKS", &directory.display().to_string())],
    ] {
        let at = tempfile::tempdir().unwrap();
        assert_eq!(
            install(&at, Build::Cpu, &indexes(&server, &variables)).unwrap(),
            "2.11.0+cu130",
            "{variables:?}"
        );
    }
    // Files of this machine stay where they are.
    assert!(files.iter().all(|file| directory.join(&file.name).exists()));
}

#[test]
fn a_build_with_cuda_comes_with_the_packages_that_its_metadata_names() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    pypi(&server);
    let requires = [
        "filelock",
        "triton==3.6.0; platform_system == \"Linux\"",
        "cuda-toolkit[cublas,cudart]==12.6.3; platform_system == \"Linux\"",
        "nvidia-cudnn-cu12==9.19.0.56; platform_system == \"Linux\" and platform_machine == \"x86_64\"",
        "nvidia-nccl-cu12==2.28.9; platform_machine == \"aarch64\"",
    ];
    let toolkit =
        ["nvidia-cublas-cu12==12.6.*; extra == \"cublas\"", "nvidia-cufft-cu12==11; extra == \"cufft\""];
    let own = [
        torch("2.11.0+cu126", "cp310", &requires),
        package("nvidia_cudnn_cu12", "9.19.0.56", &[]),
        package("nvidia_cublas_cu12", "12.6.4.1", &[]),
        package("nvidia_cublas_cu12", "12.8.4.1", &[]),
    ];
    server.index("/whl/cu126", &own);
    let metadata = "Metadata-Version: 2.4\nName: cuda-toolkit\nRequires-Dist: ".to_owned()
        + &toolkit.join("\nRequires-Dist: ");
    let toolkit = package("cuda_toolkit", "12.6.3", &[]);
    server.put(&format!("/files/{}.metadata", toolkit.name), Page::Body("text/plain", metadata.into()));
    server.put("/simple/cuda-toolkit/", Page::Body("text/html", toolkit.link("/files/").into()));
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    assert_eq!(install(&dir, Build::Cu126, &from).unwrap(), "2.11.0+cu126");
    let home = dir.path().join(".libtorch/nvidia");
    assert!(home.join("nvidia_cudnn_cu12/lib").exists() && home.join("nvidia_cublas_cu12/lib").exists());
    assert!(server.saw("nvidia_cublas_cu12-12.6.4.1") && !server.saw("nvidia_cublas_cu12-12.8"));
    assert!(!server.saw("nccl") && !server.saw("triton") && !server.saw("filelock") && !server.saw("cufft"));
    assert!(get_libtorch::has_cuda_packages(&dir.path().join(".libtorch")));
}

#[test]
fn pytorchs_own_build_for_cpus_is_a_third_as_long_and_asked_first() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    pypi(&server);
    server.index("/whl/cpu", &[torch("2.11.0+cpu", "cp312", &[])]);
    // Nobody chose an index.
    assert_eq!(install(&dir, Build::Cpu, &indexes(&server, &[])).unwrap(), "2.11.0+cpu");
    assert!(!dir.path().join(".libtorch/nvidia").exists());
    // Somebody did: it may be the only one within reach.
    let (other, own) = (tempfile::tempdir().unwrap(), server.log().len());
    let chosen = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    assert_eq!(install(&other, Build::Cpu, &chosen).unwrap(), "2.11.0+cu130");
    assert!(!server.log()[own..].iter().any(|line| line.contains("/whl/")));
}

#[test]
fn everything_goes_through_the_proxy_and_what_is_exempt_does_not() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    pypi(&server);
    let proxy = server.proxy();
    let with_login = proxy.url("").replace("http://", "http://anna:secret@");
    let index = [("PIP_INDEX_URL", "http://mirror.campus/simple"), ("PIP_TRUSTED_HOST", "mirror.campus")];
    for through in
        [("http_proxy", with_login.as_str()), ("ALL_PROXY", &proxy.url("")), ("PIP_PROXY", &proxy.url(""))]
    {
        let at = tempfile::tempdir().unwrap();
        let from = indexes(&server, &[index[0], index[1], through]);
        assert_eq!(install(&at, Build::Cpu, &from).unwrap(), "2.11.0+cu130", "{through:?}");
    }
    assert!(proxy.saw("CONNECT mirror.campus:80") && proxy.saw("Basic "), "{:?}", proxy.log());
    let before = proxy.log().len();
    let variables = [
        ("PIP_INDEX_URL", &*server.url("/simple")),
        ("http_proxy", &proxy.url("")),
        ("NO_PROXY", "localhost,127.0.0.1"),
    ];
    install(&dir, Build::Cpu, &indexes(&server, &variables)).unwrap();
    assert_eq!(proxy.log().len(), before);
}

#[test]
fn a_download_that_breaks_off_goes_on_from_there() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    let path = format!("/files/{}", files[0].name);
    // The first connection is the question for the length.
    server.put(&path, Page::Breaking(files[0].bytes.clone(), vec![0, 50_000, 1_000, 20_000]));
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    install(&dir, Build::Cpu, &from).unwrap();
    let log = server.log();
    let asked: Vec<&str> = log
        .iter()
        .filter(|line| line.contains(&path) && line.contains("bytes="))
        .map(String::as_str)
        .collect();
    assert_eq!(asked.len(), 3, "{log:?}");
    assert!(
        asked[0].contains("bytes=50000-")
            && asked[1].contains("bytes=51000-")
            && asked[2].contains("bytes=71000-"),
        "{asked:?}"
    );
}

#[test]
fn what_a_set_up_left_behind_is_kept_for_the_next() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    let path = format!("/files/{}", files[0].name);
    server.put(&path, Page::Breaking(files[0].bytes.clone(), vec![0, 60_000, 0, 0, 0, 0, 0]));
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    let error = install(&dir, Build::Cpu, &from).unwrap_err().to_string();
    assert!(error.contains("60000 of") && error.contains("run the set-up again"), "{error}");
    assert!(!dir.path().join(".libtorch").exists());
    let part = dir.path().join(format!(".libtorch.downloads/{}.part", files[0].name));
    assert_eq!(fs::metadata(part).unwrap().len(), 60_000);
    server.put(&path, Page::Breaking(files[0].bytes.clone(), vec![0]));
    let before = server.log().len();
    install(&dir, Build::Cpu, &from).unwrap();
    assert!(server.log()[before..].iter().any(|line| line.contains("bytes=60000-")));
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    server.put(
        &format!("/files/{}", files[0].name),
        Page::WithoutRanges(files[0].bytes.clone(), vec![0, 70_000]),
    );
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    assert_eq!(install(&dir, Build::Cpu, &from).unwrap(), "2.11.0+cu130");
}

#[test]
fn a_file_with_another_digest_is_refused_and_removed() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    let mut other = files[0].bytes.clone();
    other[1000] ^= 1;
    let altered = File { bytes: other, ..files[0].clone() };
    server.put(&format!("/files/{}", files[0].name), Page::Body("application/zip", altered.bytes.clone()));
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    let error = install(&dir, Build::Cpu, &from).unwrap_err().to_string();
    assert!(error.contains(&files[0].sha256()) && error.contains(&altered.sha256()), "{error}");
    assert!(!dir.path().join(".libtorch").exists());
    let left = fs::read_dir(dir.path().join(".libtorch.downloads")).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with("torch")));
}

#[test]
fn too_little_room_is_said_before_anything_is_downloaded() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    // PyPI's form, which states lengths.
    let page = files
        .iter()
        .filter(|file| file.name.starts_with("torch"))
        .map(File::json)
        .collect::<Vec<_>>()
        .join(",");
    let page = format!("{{\"files\": [{page}]}}");
    server.put("/simple/torch/", Page::Body("application/vnd.pypi.simple.v1+json", page.into()));
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    let full = Installer { free_space: |_| Some(100_000), ..installer(dir.path()) };
    let error = full.install(Build::Cpu, &from, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("100 KB free") && error.contains("needs"), "{error}");
    assert!(!server.saw(&format!("/files/{} ", files[0].name)), "{:?}", server.log());
    assert!(!dir.path().join(".libtorch").exists());
}

#[test]
fn a_file_that_was_withdrawn_is_taken_only_where_there_is_no_other() {
    let server = Server::start();
    let withdrawn = File { yanked: Some("broken &amp; bad"), ..torch("2.11.0", "cp310", &[]) };
    let set = cpu_set();
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    server.index("/simple", &[vec![withdrawn.clone(), torch("2.11.0", "cp312", &[])], set.clone()].concat());
    let dir = tempfile::tempdir().unwrap();
    install(&dir, Build::Cpu, &from).unwrap();
    assert!(server.saw("cp312") && !server.saw("cp310"));
    server.index("/simple", &[vec![withdrawn], set].concat());
    let (dir, mut notes) = (tempfile::tempdir().unwrap(), Notes::default());
    installer(dir.path()).install(Build::Cpu, &from, &mut notes).unwrap();
    assert!(
        notes.0.iter().any(|line| line.contains("withdrawn") && line.contains("broken & bad")),
        "{:?}",
        notes.0
    );
}

#[test]
fn redirects_are_followed_but_not_to_plain_http_elsewhere() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    server.put(&format!("/files/{}", files[0].name), Page::Redirect("/elsewhere/torch.whl".to_owned()));
    server.put("/elsewhere/torch.whl", Page::Body("application/zip", files[0].bytes.clone()));
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    install(&dir, Build::Cpu, &from).unwrap();
    let at = tempfile::tempdir().unwrap();
    server.put("/elsewhere/torch.whl", Page::Redirect("http://mirror.example/torch.whl".to_owned()));
    let error = install(&at, Build::Cpu, &from).unwrap_err().to_string();
    assert!(error.contains("http://mirror.example/torch.whl") && error.contains("trusted-host"), "{error}");
    server.put("/elsewhere/torch.whl", Page::Redirect("/elsewhere/torch.whl".to_owned()));
    assert!(install(&at, Build::Cpu, &from).unwrap_err().to_string().contains("ten times"));
}

#[test]
fn the_login_of_an_index_goes_to_its_files_and_into_no_message() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    let index = server.url("/simple").replace("http://", "http://anna:s%40cret@");
    install(&dir, Build::Cpu, &indexes(&server, &[("PIP_INDEX_URL", &index)])).unwrap();
    // anna:s@cret
    let with_login = server.log().iter().filter(|line| line.contains("Basic YW5uYTpzQGNyZXQ=")).count();
    assert_eq!(with_login, server.log().len(), "{:?}", server.log());
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join(".netrc"), "machine 127.0.0.1 login bob password two\n").unwrap();
    let home = other.path().display().to_string();
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple")), ("HOME", &home)]);
    install(&other, Build::Cpu, &from).unwrap();
    // bob:two
    assert!(server.saw("Basic Ym9iOnR3bw=="));
    server.put(&format!("/files/{}", files[0].name), Page::Body("application/zip", b"other".to_vec()));
    let error =
        install(&tempfile::tempdir().unwrap(), Build::Cpu, &indexes(&server, &[("PIP_INDEX_URL", &index)]))
            .unwrap_err();
    assert!(!error.to_string().contains("cret"), "{error}");
}

#[test]
fn a_build_that_is_nowhere_is_named_with_the_places_and_their_failures() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    pypi(&server);
    let variables =
        [("PIP_INDEX_URL", &*server.url("/simple")), ("PIP_EXTRA_INDEX_URL", "http://mirror.example/simple")];
    let error = install(&dir, Build::Cu128, &indexes(&server, &variables)).unwrap_err().to_string();
    for part in
        ["torch 2.11.0 (cu128)", "glibc 2.31", "/simple", "/whl/cu128", "mirror.example", "trusted-host"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_set_up_that_fails_leaves_the_old_libtorch_in_place() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let files = pypi(&server);
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    install(&dir, Build::Cpu, &from).unwrap();
    let mut damaged = torch("2.11.0", "cp310", &[]);
    damaged.bytes.truncate(damaged.bytes.len() / 2);
    server.index("/simple", &[vec![damaged], files[3..].to_vec()].concat());
    let error = install(&dir, Build::Cpu, &from).unwrap_err().to_string();
    assert!(error.contains("archive"), "{error}");
    assert!(check(&dir.path().join(".libtorch/torch")).is_ok());
}

#[test]
fn a_pytorch_that_is_there_already_is_linked_and_not_copied() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    pypi(&server);
    let from = indexes(&server, &[("PIP_INDEX_URL", &server.url("/simple"))]);
    install(&dir, Build::Cpu, &from).unwrap();
    let other = tempfile::tempdir().unwrap();
    let torch = dir.path().join(".libtorch/torch");
    assert_eq!(installer(other.path()).link(&torch).unwrap(), "2.11.0+cu130");
    let link = other.path().join(".libtorch/torch");
    assert!(link.is_symlink() && check(&link).is_ok());
    // A later installation replaces the link and leaves what it led to.
    install(&other, Build::Cpu, &from).unwrap();
    assert!(!link.is_symlink() && check(&torch).is_ok());
    assert!(installer(other.path()).link(other.path()).unwrap_err().to_string().contains("version.py"));
}
