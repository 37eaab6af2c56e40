//! Addresses of indexes and their files (RFC 3986): those with a host, and files of this machine.

use std::fmt;
use std::path::{Path, PathBuf};

/// An address: `https://name:password@host:port/path?query#fragment`, or `file:///path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// `https`, `http` or another, in lower case.
    pub(crate) scheme: String,
    /// Name and password as they are written, with `%40` for `@`.
    login: Option<String>,
    /// In lower case; an IPv6 address in its brackets; empty for a file.
    pub(crate) host: String,
    port: Option<u16>,
    /// Begins with `/`.
    pub(crate) path: String,
    query: Option<String>,
    pub(crate) fragment: Option<String>,
}

impl Url {
    /// Reads an address; `None` for one without a host, unless it is a file's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(':').filter(|(scheme, _)| is_scheme(scheme))?;
        let scheme = scheme.to_lowercase();
        let (authority, tail) = split_at_any(rest.strip_prefix("//")?, &['/', '?', '#']);
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, "")) if !host.ends_with(':') => (host, None),
            Some((host, digits)) if !digits.contains(']') => (host, Some(digits.parse().ok()?)),
            _ => (place, None),
        };
        if (host.is_empty() && scheme != "file")
            || host.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return None;
        }
        let mut url = Self {
            scheme,
            login,
            host: host.to_lowercase(),
            port,
            path: String::new(),
            query: None,
            fragment: None,
        };
        let (path, query, fragment) = split_tail(tail);
        url.path = without_dots(if path.is_empty() { "/" } else { &path });
        (url.query, url.fragment) = (query, fragment);
        Some(url)
    }

    /// Returns the address of a file of this machine.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let mut url = Self::parse("file:///")?;
        url.path = path.to_str()?.bytes().map(|byte| encoded(byte, b"%?#")).collect();
        path.is_absolute().then_some(url)
    }

    /// Returns the path of a file of this machine.
    pub(crate) fn to_file(&self) -> Option<PathBuf> {
        (self.scheme == "file" && ["", "localhost"].contains(&self.host.as_str()))
            .then(|| PathBuf::from(decoded(&self.path)))
    }

    /// Resolves a reference on a page at this address (RFC 3986, section 5.2.2).
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        let reference = reference.trim();
        if reference.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
            return Self::parse(reference);
        }
        if reference.starts_with("//") {
            return Self::parse(&format!("{}:{reference}", self.scheme));
        }
        let (path, query, fragment) = split_tail(reference);
        let mut url = Self { fragment, ..self.clone() };
        if path.is_empty() {
            url.query = query.or(url.query);
            return Some(url);
        }
        let directory = &self.path[..=self.path.rfind('/')?];
        url.path = without_dots(&if path.starts_with('/') { path } else { format!("{directory}{path}") });
        url.query = query;
        Some(url)
    }

    /// Returns the address with another path.
    pub(crate) fn with_path(&self, path: String) -> Self {
        Self { path, query: None, fragment: None, ..self.clone() }
    }

    /// Returns the port, or the scheme's own.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port.or(match self.scheme.as_str() {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        })
    }

    /// Returns name and password.
    pub(crate) fn login(&self) -> Option<(String, String)> {
        let login = self.login.as_deref()?;
        let (name, password) = login.split_once(':').unwrap_or((login, ""));
        Some((decoded(name), decoded(password)))
    }

    /// Tells if two addresses are of one server.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.port() == other.port()
    }

    /// Returns the last part of the path, decoded.
    pub(crate) fn file_name(&self) -> String {
        decoded(self.path.rsplit('/').next().unwrap_or_default())
    }

    /// Returns the address that goes into a request.
    pub(crate) fn bare(&self) -> String {
        Self { login: None, fragment: None, ..self.clone() }.written()
    }

    /// Returns the address for a message: without fragment and password.
    pub(crate) fn shown(&self) -> String {
        let login = self.login.as_ref().map(|_| "***".to_owned());
        Self { login, fragment: None, ..self.clone() }.written()
    }

    fn written(&self) -> String {
        let login = self.login.as_ref().map(|login| format!("{login}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let fragment = self.fragment.as_ref().map(|fragment| format!("#{fragment}")).unwrap_or_default();
        format!("{}://{login}{}{port}{}{query}{fragment}", self.scheme, self.host, self.path)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown())
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn split_at_any<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// Splits path, query and fragment, and encodes what no address may hold.
fn split_tail(text: &str) -> (String, Option<String>, Option<String>) {
    let (text, fragment) = match text.split_once('#') {
        Some((text, fragment)) => (text, Some(fragment.to_owned())),
        None => (text, None),
    };
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let clean = |text: &str| text.bytes().map(|byte| encoded(byte, b"")).collect::<String>();
    (clean(path), query.map(clean), fragment)
}

fn encoded(byte: u8, also: &[u8]) -> String {
    let is_plain = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) && !also.contains(&byte);
    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// Undoes `%2B` and the like.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Resolves `.` and `..` in a path (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            _ => parts.push(segment),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_as_rfc_3986_says() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("g/./h/../i", "http://a/b/c/g/i"),
            ("https://b:8443/x y", "https://b:8443/x%20y"),
        ] {
            assert_eq!(base.join(reference).unwrap().bare(), expected, "{reference}");
        }
        assert_eq!(base.join("#sha256=0").unwrap().fragment.as_deref(), Some("sha256=0"));
    }

    #[test]
    fn parts_are_told_apart_and_passwords_are_never_shown() {
        let url =
            Url::parse("HTTPS://anna:s%40c:ret@Mirror.Example:8443/simple/torch-2%2B1.whl#sha256=0").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.host.as_str(), url.port()),
            ("https", "mirror.example", Some(8443))
        );
        assert_eq!(url.login(), Some(("anna".to_owned(), "s@c:ret".to_owned())));
        assert_eq!(url.shown(), "https://***@mirror.example:8443/simple/torch-2%2B1.whl");
        assert_eq!(url.bare(), "https://mirror.example:8443/simple/torch-2%2B1.whl");
        assert_eq!(url.file_name(), "torch-2+1.whl");
        assert_eq!(Url::parse("http://[::1]:80/").unwrap().host, "[::1]");
        assert_eq!(Url::parse("http://[::1]").unwrap().port(), Some(80));
        for other in ["", "simple", "https://", "https:/x", "http://a:port/", "mailto:a@b", "http://a b/"] {
            assert_eq!(Url::parse(other), None, "{other}");
        }
    }

    #[test]
    fn files_of_this_machine_have_addresses_too() {
        let path = Path::new("/wheels/über 100%/torch-2.11.0+cpu.whl");
        let url = Url::of_file(path).unwrap();
        assert_eq!(url.to_file().as_deref(), Some(path));
        assert_eq!(Url::parse(&url.bare()).unwrap().to_file().as_deref(), Some(path));
        assert_eq!(url.file_name(), "torch-2.11.0+cpu.whl");
        assert!(
            Url::of_file(Path::new("relative")).is_none()
                && Url::parse("http://a/b").unwrap().to_file().is_none()
        );
    }

    #[test]
    fn what_is_no_code_stays_as_it_is() {
        assert_eq!(decoded("torch-2.11.0%2Bcu126-cp310%zz%"), "torch-2.11.0+cu126-cp310%zz%");
    }
}
