//! Listeners for axum whose connections end by the deadline.

use std::sync::Arc;

use axum::serve::{Listener, ListenerExt};

use super::Shutdown;
use crate::guard::{GuardedListener, Listening, TcpOptions};

impl Shutdown {
    /// Guards the connections of a listener, so that `axum::serve` is over by the deadline.
    ///
    /// It takes any listener for axum: TCP, Unix sockets, TLS. Each connection is
    /// [guarded](Self::guard), and TCP connections get the [options](Self::tcp_options) with which
    /// the server learns soon that a client does not read.
    ///
    /// With it `axum::serve(..).with_graceful_shutdown(..)` returns by the deadline, whatever
    /// clients do. The deadline is for all connections: uploads and upgraded connections end then,
    /// too.
    ///
    /// A listener that does the TLS handshake in `accept` hides the socket, and the guard stands
    /// above TLS. Let it guard the sockets by itself then, or bound the time of its handshakes.
    ///
    /// # `ConnectInfo`
    ///
    /// `into_make_service_with_connect_info::<SocketAddr>()` works as without it. Your own type
    /// implements `Connected` for `IncomingStream<'_, Listening<L>>`, whose connection is a
    /// [`Guarded`](crate::Guarded).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    /// use axum::{Router, extract::ConnectInfo, routing::get};
    /// use tower_sse::Shutdown;
    ///
    /// # #[tokio::main] async fn main() -> std::io::Result<()> {
    /// let shutdown = Shutdown::new();
    /// let app = Router::new().route("/", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| {
    ///     from.to_string()
    /// }));
    /// let app = app.into_make_service_with_connect_info::<SocketAddr>();
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// axum::serve(shutdown.listen(listener), app)
    ///     .with_graceful_shutdown(async move { shutdown.triggered().await })
    ///     .await
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn listen<L>(&self, listener: L) -> Listening<L>
    where
        L: Listener,
    {
        self.listen_with(listener, self.tcp_options())
    }

    /// Guards the connections of a listener as [`listen`](Self::listen) does, with other
    /// [options](Self::tcp_options) for TCP connections.
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn listen_with<L>(&self, listener: L, options: TcpOptions) -> Listening<L>
    where
        L: Listener,
    {
        GuardedListener::new(listener, options, Arc::clone(&self.drain)).tap_io(|_| {})
    }

    /// The options that [`listen`](Self::listen) sets for TCP connections.
    ///
    /// # Examples
    ///
    /// For a listener that hides its sockets they are set where the sockets are made:
    ///
    /// ```no_run
    /// use axum::serve::ListenerExt;
    /// use tower_sse::Shutdown;
    ///
    /// # #[tokio::main] async fn main() -> std::io::Result<()> {
    /// let shutdown = Shutdown::new();
    /// let options = shutdown.tcp_options().notsent_lowat(64 * 1024);
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let listener = listener.tap_io(move |stream| drop(options.apply(stream)));
    /// let tls = shutdown.listen(encrypted(listener));
    /// # Ok(())
    /// # }
    /// # fn encrypted<L>(listener: L) -> L { listener }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
    pub fn tcp_options(&self) -> TcpOptions {
        TcpOptions::new(self.drain.settings.stall_limit)
    }
}
