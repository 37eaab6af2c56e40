//! pip's settings: the variables `PIP_…` and its configuration files, in its order.
//!
//! Source: pip's documentation, "Configuration", and `pip/_internal/configuration.py`: global files, the user's, the
//! environment's (`pip.conf` in its prefix), the file that `PIP_CONFIG_FILE` names, variables; each wins over those before it, and
//! in files `[install]` wins over `[global]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::env::Env;
use crate::error::GetError;

/// pip's settings that matter for fetching a wheel.
#[derive(Debug, Clone, PartialEq)]
pub struct PipSettings {
    /// `index-url`.
    pub index_url: Option<String>,
    /// `extra-index-url`.
    pub extra_index_urls: Vec<String>,
    /// `find-links`: directories, and pages or directories by URL.
    pub find_links: Vec<String>,
    /// `no-index`.
    pub no_index: bool,
    /// `trusted-host`: hosts, or `host:port`.
    pub trusted_hosts: Vec<String>,
    /// `cert`: a file of certificate authorities.
    pub cert: Option<PathBuf>,
    /// `proxy`.
    pub proxy: Option<String>,
    /// `timeout`.
    pub timeout: Duration,
}

impl Default for PipSettings {
    fn default() -> Self {
        Self {
            index_url: None,
            extra_index_urls: Vec::new(),
            find_links: Vec::new(),
            no_index: false,
            trusted_hosts: Vec::new(),
            cert: None,
            proxy: None,
            // pip's 15 s are for a single read; a proxy that looks at what it passes on needs longer.
            timeout: Duration::from_secs(60),
        }
    }
}

/// Sections of a file that hold for `pip install`, and the variables' place, in the order of their force.
const SECTIONS: [&str; 3] = ["global", "install", ":env:"];

impl PipSettings {
    /// Reads them as pip would.
    ///
    /// # Errors
    /// When a file cannot be read, or a value cannot be used.
    pub fn read(env: &Env) -> Result<Self, GetError> {
        let mut merged = BTreeMap::new();
        for file in files(env) {
            match std::fs::read_to_string(&file) {
                Ok(text) => merged.extend(parse(&text)),
                Err(error) if !file.is_file() || error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(GetError::file("read", &file)(error)),
            }
        }
        for (name, value) in env.with_prefix("PIP_") {
            merged.insert((":env:".to_owned(), normalised(name)), value.to_owned());
        }
        let mut values = BTreeMap::new();
        for section in SECTIONS {
            for ((of, name), value) in &merged {
                if of == section && !value.trim().is_empty() {
                    values.insert(name.clone(), value.trim().to_owned());
                }
            }
        }
        Self::of(&values, env)
    }

    fn of(values: &BTreeMap<String, String>, env: &Env) -> Result<Self, GetError> {
        let text = |names: &[&str]| names.iter().find_map(|name| values.get(*name).cloned());
        let list = |name: &str| -> Vec<String> {
            values
                .get(name)
                .map(|text| text.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default()
        };
        let mut settings = Self {
            index_url: text(&["index-url", "pypi-url"]),
            extra_index_urls: list("extra-index-url"),
            find_links: list("find-links"),
            no_index: text(&["no-index"]).is_some_and(|value| is_true(&value)),
            trusted_hosts: list("trusted-host"),
            cert: text(&["cert"]).map(|path| env.path(&path)),
            proxy: text(&["proxy"]),
            ..Self::default()
        };
        if let Some(value) = text(&["timeout", "default-timeout"]) {
            let seconds = value.parse().ok().filter(|seconds: &f64| (0.001..1e6).contains(seconds));
            let seconds = seconds.ok_or_else(|| GetError::Setting {
                name: "pip's `timeout`".to_owned(),
                value,
                expected: "a number of seconds",
            })?;
            settings.timeout = Duration::from_secs_f64(seconds);
        }
        Ok(settings)
    }

    /// Tells if somebody chose an index.
    pub fn names_an_index(&self) -> bool {
        self.no_index || self.index_url.is_some() || !self.extra_index_urls.is_empty()
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on", "y", "t"].contains(&value.to_lowercase().as_str())
}

/// Returns pip's configuration files, there or not, the strongest last.
fn files(env: &Env) -> Vec<PathBuf> {
    let named = env.get("PIP_CONFIG_FILE");
    if named == Some("/dev/null") {
        return Vec::new();
    }
    let is_macos = cfg!(target_os = "macos");
    let mut files = Vec::new();
    if is_macos {
        files.push(PathBuf::from("/Library/Application Support/pip/pip.conf"));
    } else {
        let dirs = env.get("XDG_CONFIG_DIRS").unwrap_or("/etc/xdg");
        files.extend(
            dirs.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join("pip/pip.conf")),
        );
        files.push(PathBuf::from("/etc/pip.conf"));
    }
    if let Some(home) = env.home().filter(|_| !named.is_some_and(|file| Path::new(file).exists())) {
        files.push(home.join(".pip/pip.conf"));
        let mac = home.join("Library/Application Support/pip");
        files.push(match env.get("XDG_CONFIG_HOME") {
            _ if is_macos && mac.is_dir() => mac.join("pip.conf"),
            Some(dir) => Path::new(dir).join("pip/pip.conf"),
            None => home.join(".config/pip/pip.conf"),
        });
    }
    let prefixes = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(|name| env.get(name));
    files.extend(prefixes.map(|prefix| Path::new(prefix).join("pip.conf")));
    files.extend(named.map(PathBuf::from));
    files
}

fn normalised(name: &str) -> String {
    name.trim().trim_start_matches("--").to_lowercase().replace('_', "-")
}

/// Reads Python's configuration format: `[section]`, `name = value` or `name: value`, indented lines that go on.
fn parse(text: &str) -> BTreeMap<(String, String), String> {
    let mut values: BTreeMap<(String, String), String> = BTreeMap::new();
    let (mut section, mut last) = (String::new(), None);
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let continued = last.as_ref().filter(|_| line.starts_with([' ', '\t']));
        if let Some(value) = continued.and_then(|key| values.get_mut(key)) {
            *value = format!("{value}\n{trimmed}");
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (section, last) = (name.to_owned(), None);
        } else if let Some((name, value)) = trimmed.split_once(['=', ':']) {
            let key = (section.clone(), normalised(name));
            values.insert(key.clone(), value.trim().to_owned());
            last = Some(key);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the settings of a home directory with these files, under these variables.
    fn settings(files: &[(&str, &str)], variables: &[(&str, &str)]) -> PipSettings {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let at_home = |text: &str| text.replace("$HOME", &home.path().display().to_string());
        let mut all: Vec<(&str, String)> =
            vec![("HOME", at_home("$HOME")), ("XDG_CONFIG_DIRS", "/nowhere".into())];
        all.extend(variables.iter().map(|(name, value)| (*name, at_home(value))));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        PipSettings::read(&Env::of(&all)).unwrap()
    }

    #[test]
    fn each_place_wins_over_those_before_it() {
        let files = [
            (".pip/pip.conf", "[global]\nindex-url = https://legacy/simple\n"),
            (".config/pip/pip.conf", "[global]\nindex_url: https://user/simple\n"),
            ("venv/pip.conf", "[install]\nindex-url=https://venv/simple\n"),
            (
                "named.conf",
                "[global]\nindex-url = https://named/simple\n[install]\nindex-url = https://named-install/simple",
            ),
        ];
        let expect = |count, variables: &[(&str, &str)], url: &str| {
            assert_eq!(settings(&files[..count], variables).index_url.as_deref(), Some(url));
        };
        expect(1, &[], "https://legacy/simple");
        expect(2, &[], "https://user/simple");
        expect(3, &[("VIRTUAL_ENV", "$HOME/venv")], "https://venv/simple");
        expect(
            4,
            &[("VIRTUAL_ENV", "$HOME/venv"), ("PIP_CONFIG_FILE", "$HOME/named.conf")],
            "https://named-install/simple",
        );
        expect(
            4,
            &[("PIP_CONFIG_FILE", "$HOME/named.conf"), ("PIP_INDEX_URL", "https://variable/simple")],
            "https://variable/simple",
        );
    }

    #[test]
    fn lists_go_over_lines_and_comments_count_for_nothing() {
        let text = "[global]\n# a comment\nextra-index-url =\n    https://a/simple\n    https://b/simple\n; another\ntrusted-host = a b:8080\n\
                    [freeze]\ntimeout = 3\n[install]\nfind-links = /wheels\n    https://c/whl/\n";
        let read = settings(
            &[(".config/pip/pip.conf", text)],
            &[("PIP_NO_INDEX", "1"), ("PIP_TIMEOUT", "7.5"), ("PIP_CERT", "~/ca.pem")],
        );
        assert_eq!(read.extra_index_urls, ["https://a/simple", "https://b/simple"]);
        assert_eq!(read.trusted_hosts, ["a", "b:8080"]);
        assert_eq!(read.find_links, ["/wheels", "https://c/whl/"]);
        assert!(read.no_index && read.names_an_index());
        assert_eq!(read.timeout, Duration::from_millis(7500));
        assert!(read.cert.is_some_and(|path| path.is_absolute()));
    }

    #[test]
    fn dev_null_turns_every_file_off_and_empty_values_count_for_nothing() {
        let files = [(".config/pip/pip.conf", "[global]\nindex-url = https://user/simple\nproxy =\n")];
        assert_eq!(settings(&files, &[("PIP_CONFIG_FILE", "/dev/null")]).index_url, None);
        let read = settings(&files, &[("PIP_INDEX_URL", "")]);
        assert_eq!((read.index_url.as_deref(), read.proxy), (Some("https://user/simple"), None));
    }

    #[test]
    fn a_time_that_is_none_is_refused_by_name() {
        let error = PipSettings::read(&Env::of(&[("PIP_TIMEOUT", "soon"), ("XDG_CONFIG_DIRS", "/nowhere")]))
            .unwrap_err();
        assert!(error.to_string().contains("`timeout`") && error.to_string().contains("soon"), "{error}");
    }
}
