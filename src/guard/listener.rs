//! A listener of axum's whose connections end.

use std::any::Any;
use std::io;
use std::sync::Arc;

use axum::serve::{Listener, TapIo};
use tokio::net::TcpStream;

use super::{Guarded, TcpOptions};
use crate::state::Drain;

/// A listener of axum's whose connections are [guarded](crate::Shutdown::guard).
///
/// [`Shutdown::listen`](crate::Shutdown::listen) makes it.
#[derive(Debug)]
pub struct GuardedListener<L> {
    listener: L,
    options: TcpOptions,
    drain: Arc<Drain>,
}

/// What [`Shutdown::listen`](crate::Shutdown::listen) gives: a [`GuardedListener`] in a form for which
/// axum knows how to tell handlers their client's address. Nothing is tapped.
///
/// An alias since axum gives addresses for types of its own only, and to have a name for
/// `impl Connected<IncomingStream<'_, Listening<TcpListener>>> for Peer`.
pub type Listening<L> = TapIo<GuardedListener<L>, fn(&mut Guarded<<L as Listener>::Io>)>;

impl<L> GuardedListener<L> {
    pub(crate) fn new(listener: L, options: TcpOptions, drain: Arc<Drain>) -> Self {
        Self { listener, options, drain }
    }

    /// The listener inside.
    pub fn get_ref(&self) -> &L {
        &self.listener
    }
}

impl<L: Listener> Listener for GuardedListener<L> {
    type Io = Guarded<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        // Of a listener that could be any only this tells.
        if let Some(stream) = (&io as &dyn Any).downcast_ref::<TcpStream>() {
            // A client that has gone already is found out by the first read.
            let _ = self.options.apply(stream);
        }
        (Guarded::new(io, Arc::clone(&self.drain)), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
