//! Kinds of repositories of the hub.

use std::fmt;

use hf_hub::{Repo, RepoType};

/// Kind of a repository of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A base model.
    Model,
    /// A PEFT adapter; the hub keeps it among the models.
    Adapter,
    /// A data set.
    Dataset,
}

impl RepoKind {
    /// Returns the repository `id` of this kind at a revision: a branch, a tag or a commit.
    pub(super) fn repo(self, id: &str, revision: &str) -> Repo {
        let of = if self == Self::Dataset { RepoType::Dataset } else { RepoType::Model };
        Repo::with_revision(id.to_owned(), of, revision.to_owned())
    }

    /// Returns the command of the hub's own client that fetches `id`.
    pub(crate) fn download_command(self, id: &str) -> String {
        match self {
            Self::Model | Self::Adapter => format!("hf download {id}"),
            Self::Dataset => format!("hf download --repo-type dataset {id}"),
        }
    }

    /// Returns its name with the article.
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::Model => "a model",
            Self::Adapter => "an adapter",
            Self::Dataset => "a data set",
        }
    }

    /// Returns the local thing of this kind.
    pub(crate) fn local(self) -> &'static str {
        if self == Self::Dataset { "file" } else { "directory" }
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.with_article().split_once(' ').map_or("", |(_, noun)| noun))
    }
}
