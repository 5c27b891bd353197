//! What an examination of an installation says: each check, the side that is to change something, and what.

use serde::Serialize;

/// Which side has to change something before the same attempt can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// This installation: its configuration, certificates, files or machine.
    Ours,
    /// The peer: its configuration or its state.
    Peers,
    /// Either side: what the two say does not fit together.
    Either,
    /// What lies between: network, firewall, name service.
    Between,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but somebody should look.
    Warning,
    /// It does not work.
    Failed,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, such as `destination pacs: C-ECHO`.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub found: String,
    /// Whose it is to change something, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// The key of the configuration that it hangs on, from its section on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        let (name, found) = (name.into(), found.into());
        Self { name, verdict: Verdict::Ok, found, side: None, key: None, change: None }
    }

    /// It works, but `side` should look at it.
    pub fn warning(name: impl Into<String>, found: impl Into<String>, side: Side) -> Self {
        Self { verdict: Verdict::Warning, side: Some(side), ..Self::ok(name, found) }
    }

    /// It does not work, and `side` is to change something.
    pub fn failed(name: impl Into<String>, found: impl Into<String>, side: Side) -> Self {
        Self { verdict: Verdict::Failed, side: Some(side), ..Self::ok(name, found) }
    }

    /// Names the key that it hangs on.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn change(mut self, change: impl Into<String>) -> Self {
        self.change = Some(change.into());
        self
    }
}
