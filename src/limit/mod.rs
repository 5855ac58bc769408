//! Limits of how many streams are open, and their counts.

mod builder;

use std::sync::Arc;

pub use builder::LimitBuilder;

use crate::state::LimitInner;

/// A limit of how many streams are open, in all and by user, session or address.
///
/// A [`LimitLayer`](crate::LimitLayer) applies it to streams. Handles are cheap to clone and share
/// one count, so one limit holds for several routes.
///
/// # Examples
///
/// At most 10,000 streams, and 5 of each user:
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_sse::{Limit, SseLayer};
///
/// let limit = Limit::builder()
///     .max(10_000)
///     .per_key(5, |request| {
///         request.headers.get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned)
///     })
///     .build()?;
/// let app: Router = Router::new()
///     .route("/events", get(events))
///     .layer(SseLayer::new().limit(limit.clone()));
/// println!("{} streams of {} users", limit.open(), limit.keys());
/// # async fn events() {}
/// # Ok::<(), tower_sse::InvalidSetting>(())
/// ```
///
/// One count for two routes, of which one takes up to half of it:
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_sse::{Limit, LimitLayer};
///
/// let limit = Limit::new(1_000);
/// let of_news = Limit::builder().max(500).count_with(&limit).build()?;
/// let app: Router = Router::new()
///     .route("/news", get(events).layer(LimitLayer::new(of_news)))
///     .route("/orders", get(events))
///     .layer(LimitLayer::new(limit));
/// # async fn events() {}
/// # Ok::<(), tower_sse::InvalidSetting>(())
/// ```
///
/// By address, as axum knows it. Behind a proxy this is the address of the proxy:
///
/// ```
/// use std::net::SocketAddr;
/// use axum::extract::ConnectInfo;
/// use tower_sse::Limit;
///
/// let limit = Limit::builder().max(10_000).per_key(20, |request| {
///     let address = request.extensions.get::<ConnectInfo<SocketAddr>>();
///     address.map(|ConnectInfo(address)| address.ip())
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    limit: Arc<LimitInner>,
}

impl Limit {
    /// A limit of `max` streams, with the defaults of [`builder`](Self::builder). Zero refuses all
    /// streams, and [`usize::MAX`] none.
    #[must_use]
    pub fn new(max: usize) -> Self {
        LimitBuilder::default().max(max).build_limit()
    }

    /// Settings to choose.
    pub fn builder() -> LimitBuilder {
        LimitBuilder::default()
    }

    /// How many streams count now, also of limits that [count together](LimitBuilder::count_with).
    #[must_use]
    pub fn open(&self) -> usize {
        self.limit.permits.open()
    }

    /// How many keys have streams now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.limit.permits.keys()
    }

    /// How many requests were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.limit.refused()
    }

    pub(crate) fn into_inner(self) -> Arc<LimitInner> {
        self.limit
    }
}
