//! Settings that cannot work.

use std::error::Error;
use std::fmt;

/// A setting that cannot work, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    setting: &'static str,
    why: &'static str,
}

impl InvalidSetting {
    pub(crate) const fn new(setting: &'static str, why: &'static str) -> Self {
        Self { setting, why }
    }

    /// The name of the setting.
    #[must_use]
    pub const fn setting(&self) -> &str {
        self.setting
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid setting `{}`: {}", self.setting, self.why)
    }
}

impl Error for InvalidSetting {}
