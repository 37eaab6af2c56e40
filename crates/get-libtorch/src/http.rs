//! Requests: certificates, proxies, logins and redirects as pip has them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::http::{HeaderMap, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::env::Env;
use crate::error::GetError;
use crate::netrc;
use crate::pip::PipSettings;
use crate::proxy::proxy_for;
use crate::url::Url;

/// Redirects that are followed, and no more.
const MAX_REDIRECTS: usize = 10;
/// Files of certificate authorities that systems keep.
const SYSTEM_CERTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Makes requests.
#[derive(Debug)]
pub(crate) struct Client {
    env: Env,
    roots: RootCerts,
    trusted_hosts: Vec<String>,
    proxy: Option<String>,
    timeout: Duration,
    /// Indexes whose URL has a login, which their files need too.
    logins: Vec<Url>,
}

/// The answer to a request that succeeded: status 200 or 206, or 416 where a part was asked for.
pub(crate) struct Answer {
    /// The address, after redirects.
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Box<dyn Read>,
}

impl Answer {
    /// Returns a header's text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Client {
    /// Makes one of pip's settings.
    ///
    /// # Errors
    /// When the file of certificates cannot be used.
    pub(crate) fn new(settings: &PipSettings, env: &Env) -> Result<Self, GetError> {
        Ok(Self {
            env: env.clone(),
            roots: roots(settings, env)?,
            trusted_hosts: settings.trusted_hosts.clone(),
            proxy: settings.proxy.clone(),
            timeout: settings.timeout,
            logins: Vec::new(),
        })
    }

    /// Remembers the login in an index's URL for everything of its host.
    pub(crate) fn remember_login(&mut self, url: &Url) {
        if url.login().is_some() {
            self.logins.push(url.clone());
        }
    }

    /// Gets an address, from a byte on where `from` is not 0.
    ///
    /// # Errors
    /// When there is no answer, or one of failure.
    pub(crate) fn get(&self, url: &Url, accept: &str, from: u64) -> Result<Answer, GetError> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.get_once(&at, accept, from)?;
            if !(300..400).contains(&answer.status) {
                return match answer.status {
                    200 | 206 => Ok(answer),
                    416 if from > 0 => Ok(answer),
                    status => Err(GetError::Status { url: at.shown(), status }),
                };
            }
            let location = answer.header(header::LOCATION).and_then(|location| at.join(location));
            at = location.ok_or(GetError::Status { url: at.shown(), status: answer.status })?;
        }
        Err(GetError::Redirects { url: url.shown() })
    }

    fn get_once(&self, url: &Url, accept: &str, from: u64) -> Result<Answer, GetError> {
        let trusted = self.is_trusted(url);
        if !(url.scheme == "https" || (url.scheme == "http" && (trusted || is_local(url)))) {
            return Err(GetError::Insecure { url: url.shown() });
        }
        let failed = |source| GetError::Request { url: url.shown(), source: Box::new(source) };
        let proxy = proxy_for(url, self.proxy.as_deref(), &self.env);
        let proxy = proxy.map(|text| ureq::Proxy::new(&text).map_err(failed)).transpose()?;
        let tls = TlsConfig::builder().root_certs(self.roots.clone()).disable_verification(trusted);
        let agent = ureq::Agent::config_builder()
            .tls_config(tls.build())
            .proxy(proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            // What is hashed and continued is the file, not a compressed form of it.
            .accept_encoding("identity")
            .user_agent(concat!("get-libtorch/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(self.timeout))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            .build()
            .new_agent();
        let mut request = agent.get(url.bare()).header(header::ACCEPT, accept);
        if let Some((name, password)) = self.login(url) {
            request = request.header(
                header::AUTHORIZATION,
                format!("Basic {}", base64(format!("{name}:{password}").as_bytes())),
            );
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(failed)?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            url: url.clone(),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: Box::new(body.into_reader()),
        })
    }

    /// Returns the login in the URL, or that of an index on the same host, or `~/.netrc`'s.
    fn login(&self, url: &Url) -> Option<netrc::Login> {
        let of_index = || self.logins.iter().find(|index| index.same_server(url)).and_then(Url::login);
        url.login().or_else(of_index).or_else(|| netrc::login(&self.env, &url.host))
    }

    fn is_trusted(&self, url: &Url) -> bool {
        let with_port = url.port().map(|port| format!("{}:{port}", url.host));
        self.trusted_hosts.iter().any(|trusted| *trusted == url.host || Some(trusted) == with_port.as_ref())
    }
}

/// Tells if an address is of this machine.
fn is_local(url: &Url) -> bool {
    let address = url.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address
        .map_or(url.host == "localhost" || url.host.ends_with(".localhost"), |address| address.is_loopback())
}

/// Returns the certificate authorities: pip's `cert`, or a variable's as for Python, or the system's, or Mozilla's.
fn roots(settings: &PipSettings, env: &Env) -> Result<RootCerts, GetError> {
    let named =
        ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().find_map(|name| env.get(name));
    if let Some(file) = settings.cert.clone().or_else(|| named.map(PathBuf::from)) {
        return read_certs(&file);
    }
    let system = SYSTEM_CERTS.iter().find_map(|file| read_certs(Path::new(file)).ok());
    Ok(system.unwrap_or(RootCerts::WebPki))
}

fn read_certs(file: &Path) -> Result<RootCerts, GetError> {
    let text = std::fs::read(file).map_err(GetError::file("read the certificates in", file))?;
    let certs: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(cert)) => Some(cert),
            _ => None,
        })
        .collect();
    if certs.is_empty() {
        return Err(GetError::Setting {
            name: "the file of certificate authorities".to_owned(),
            value: file.display().to_string(),
            expected: "certificates in PEM form",
        });
    }
    Ok(RootCerts::Specific(Arc::new(certs)))
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_and_trusted_hosts() {
        let settings =
            PipSettings { trusted_hosts: vec!["mirror.campus:8080".into()], ..PipSettings::default() };
        let client = Client::new(&settings, &Env::default()).unwrap();
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(client.is_trusted(&url("http://mirror.campus:8080/simple")));
        assert!(!client.is_trusted(&url("http://mirror.campus/simple")));
        assert!(
            is_local(&url("http://127.0.0.1:3141/"))
                && is_local(&url("http://localhost/"))
                && is_local(&url("http://[::1]/"))
        );
        let error = client
            .get(&url("http://u:p@mirror.campus/simple"), "*/*", 0)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("trusted-host") && !error.contains("u:p"), "{error}");
    }
}
