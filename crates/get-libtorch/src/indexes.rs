//! The indexes that wheels are looked for in: pip's, and PyTorch's own for a build.

use std::fmt::Write as _;

use crate::cuda::Build;
use crate::env::Env;
use crate::error::GetError;
use crate::http::Client;
use crate::index::{Listed, Source, list};
use crate::pip::PipSettings;
use crate::url::Url;

/// The index that pip asks where nobody named another.
const PYPI: &str = "https://pypi.org/simple";
/// PyTorch's own index: a directory for each build.
pub const PYTORCH: &str = "https://download.pytorch.org/whl";

/// Where wheels are looked for, and how they are fetched.
#[derive(Debug)]
pub struct Indexes {
    pub(crate) client: Client,
    links: Vec<Source>,
    pips: Vec<Source>,
    /// Somebody chose the index: it is asked before PyTorch's own, which is far from some networks.
    chosen: bool,
    pytorch: Option<Url>,
}

impl Indexes {
    /// Takes pip's settings from its variables and files; `pytorch` is the address of PyTorch's index, [`PYTORCH`] or its stand-in.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn of_pip(env: &Env, pytorch: &str) -> Result<Self, GetError> {
        let settings = PipSettings::read(env)?;
        let mut client = Client::new(&settings, env)?;
        let (mut links, mut pips) = (Vec::new(), Vec::new());
        for place in &settings.find_links {
            links.push(of_links(place, env)?);
        }
        if !settings.no_index {
            let first = settings.index_url.as_deref().unwrap_or(PYPI);
            let all = std::iter::once(first).chain(settings.extra_index_urls.iter().map(String::as_str));
            for text in all {
                let url = parse("pip's `index-url`", text)?;
                client.remember_login(&url);
                pips.push(Source::Index(url));
            }
        }
        let pytorch = if settings.no_index { None } else { Some(parse("PyTorch's index", pytorch)?) };
        Ok(Self { client, links, pips, chosen: settings.names_an_index(), pytorch })
    }

    /// Returns the sources for PyTorch's own wheel, in groups: the next is asked where one has nothing.
    pub(crate) fn groups(&self, build: Build, has_cpu_default: bool) -> Vec<Vec<Source>> {
        let own: Vec<Source> = self.own(build).into_iter().collect();
        let named = [self.links.clone(), self.pips.clone()].concat();
        // PyPI's wheel for Linux has CUDA's code, three times the bytes of the one without.
        let own_first = !self.chosen && build == Build::Cpu && !has_cpu_default;
        let groups =
            if own_first { vec![self.links.clone(), own, self.pips.clone()] } else { vec![named, own] };
        groups.into_iter().filter(|group| !group.is_empty()).collect()
    }

    /// Returns the sources for what PyTorch's wheel requires, in groups.
    pub(crate) fn groups_of_packages(&self, build: Build) -> Vec<Vec<Source>> {
        vec![[self.links.clone(), self.pips.clone()].concat(), self.own(build).into_iter().collect()]
    }

    fn own(&self, build: Build) -> Option<Source> {
        let url = self.pytorch.as_ref()?;
        Some(Source::Index(url.with_path(format!("{}/{build}", url.path.trim_end_matches('/')))))
    }

    /// Lists a project's files in some sources. A source that fails is a note, not an end: another may have the file.
    pub(crate) fn list(&self, sources: &[Source], project: &str, notes: &mut Vec<String>) -> Vec<Listed> {
        let mut found = Vec::new();
        for source in sources {
            match list(&self.client, source, project) {
                Ok(listed) => found.extend(listed),
                Err(error) => {
                    let note = with_sources(&error);
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
            }
        }
        found
    }
}

/// Reads an entry of `find-links`: a directory, a page, or a `file:` address of a directory.
fn of_links(place: &str, env: &Env) -> Result<Source, GetError> {
    if !place.contains("://") && !place.starts_with("file:") {
        return Ok(Source::Directory(env.path(place)));
    }
    let url = parse("pip's `find-links`", place)?;
    Ok(url.to_file().map_or(Source::Page(url), Source::Directory))
}

fn parse(name: &str, text: &str) -> Result<Url, GetError> {
    Url::parse(text).ok_or_else(|| GetError::Setting {
        name: name.to_owned(),
        // Not the text: it may hold a password.
        value: text.split('@').next_back().unwrap_or_default().to_owned(),
        expected: "an address such as https://mirror.example/simple",
    })
}

/// Writes an error with its causes.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
        next = source.source();
    }
    text
}
