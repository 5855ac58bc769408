//! A head that does not wait for the handler.
//!
//! [`EarlyHeadLayer`] is a layer around the future of a response, and not around its body: while a
//! handler thinks there is no body. It has a service, a future and a body of its own. The other
//! layers see its response as that of any handler.
//!
//! ```text
//!  call ──▶ waiting for the answer ── in time ─────────────────▶ the answer as it is
//!                  │
//!                  ├── after the delay: 200 goes out ──┐
//!                  │                                   ▼
//!                  │                        waiting in the body ── a stream ──▶ its body
//!                  │                                   │
//!                  │                                   ├── JSON ──▶ read ──▶ told in an event
//!                  │                                   ├── another answer, an error ──▶ told
//!                  └── give up: 504                    └── give up ──▶ told
//! ```

mod body;
mod late;
mod layer;
mod service;
mod wait;

pub use body::EarlyHeadBody;
pub use layer::EarlyHeadLayer;
pub use service::{EarlyHead, EarlyHeadFuture};
