//! How layers find the streams that layers further in have made.

use std::sync::{Arc, Mutex, Weak};

use http::Extensions;
use http_body::Body;

use crate::driver::{Registrations, StreamLink};
use crate::observe::StreamObserver;
use crate::plan::Plan;
use crate::state::Permit;
use crate::sync::lock;

/// The streams that layers further in made for one request: mostly one, which is in the response.
///
/// A handler may call a service of its own with its request, and answer with another stream than
/// the service did. What the service's layers took for the request is taken back then.
#[derive(Debug, Default)]
pub(super) struct MadeStreams(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    links: Vec<Weak<StreamLink>>,
    /// A permit that what the stream is read from already has.
    permit: Option<Permit>,
}

impl MadeStreams {
    fn add(&self, link: &Arc<StreamLink>) {
        lock(&self.0).links.push(Arc::downgrade(link));
    }

    /// Lends a permit in place of that which the stream would take, or takes it back.
    #[cfg(feature = "resume")]
    pub(super) fn lend(&self, permit: Option<Permit>) {
        let unused = std::mem::replace(&mut lock(&self.0).permit, permit);
        // After the lock: it goes back to its lender.
        drop(unused);
    }

    /// The permit that was lent for the request, if there is one.
    pub(super) fn take_permit(&self) -> Option<Permit> {
        lock(&self.0).permit.take()
    }

    /// Takes back what these streams hold for `plan`.
    pub(super) fn reclaim(&self, plan: &Plan) -> Registrations {
        let mut registrations = Registrations::default();
        for link in self.links() {
            // A client counts once, however many streams were made for it.
            registrations.complete(link.reclaim(plan)).leave(plan);
        }
        registrations
    }

    /// Takes back what is observed of these streams.
    pub(super) fn reclaim_observer(&self) -> Option<StreamObserver> {
        self.links().iter().find_map(|link| link.reclaim_observer())
    }

    fn links(&self) -> Vec<Arc<StreamLink>> {
        lock(&self.0).links.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Tells layers further out which stream a response carries, in its extensions.
#[derive(Clone, Debug)]
struct CarriedStream(Weak<StreamLink>);

/// The stream that a response carries, if a layer further in has seen it.
#[derive(Debug)]
pub(super) enum Carried {
    None,
    /// The body has said so.
    InBody(Arc<StreamLink>),
    /// The head says so, and the body does not tell.
    InHead(Arc<StreamLink>),
}

impl Carried {
    pub(super) fn into_link(self) -> Option<Arc<StreamLink>> {
        match self {
            Self::None => None,
            Self::InBody(link) | Self::InHead(link) => Some(link),
        }
    }
}

/// Looks for the stream that a response carries. See the [module docs](super).
pub(super) fn carried(body: &impl Body, extensions: &Extensions) -> Carried {
    let told = extensions.get::<CarriedStream>();
    match (StreamLink::inside(body), told.and_then(|told| told.0.upgrade())) {
        (Some(link), _) => Carried::InBody(link),
        (None, Some(link)) => Carried::InHead(link),
        (None, None) => Carried::None,
    }
}

/// Tells layers further out which stream a response carries.
///
/// `made` has the streams of the next one.
pub(super) fn tell(
    link: &Arc<StreamLink>,
    extensions: &mut Extensions,
    made: Option<&MadeStreams>,
) {
    put(extensions, CarriedStream(Arc::downgrade(link)));
    if let Some(made) = made {
        made.add(link);
    }
}

/// Removes what a response tells of its stream.
#[cfg(feature = "resume")]
pub(super) fn forget(extensions: &mut Extensions) {
    extensions.remove::<CarriedStream>();
}

/// Puts a value into extensions, in the place of the last one if there is one.
pub(super) fn put<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: T) {
    match extensions.get_mut() {
        Some(place) => *place = value,
        None => drop(extensions.insert(value)),
    }
}
