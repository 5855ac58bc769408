//! A plan as one line of a log.

use std::fmt;

use super::{Plan, Setting};

/// Each setting by its name: what it is set to, `off`, or `-` where no layer spoke of it.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keep_alive {
            Setting::On(setting) => write!(f, "keep_alive={:?}", setting.interval)?,
            other => write!(f, "keep_alive={other}")?,
        }
        let Self { event_ids, no_buffer, registry, shutdown, rotation, limit, .. } = self;
        write!(f, " event_ids={event_ids} no_buffer={no_buffer}")?;
        write!(f, " registry={registry} shutdown={shutdown} rotation={rotation}")?;
        write!(f, " limit={limit}")?;
        match self.hold_limit {
            Some(limit) => write!(f, " hold_limit={limit}"),
            None => Ok(()),
        }
    }
}

impl<T> fmt::Display for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset => "-",
            Self::Off => "off",
            Self::On(_) => "on",
        })
    }
}
