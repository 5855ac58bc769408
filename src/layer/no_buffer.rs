//! Asks proxies not to hold streams back.

use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::plan::{NoBuffer, Plan, Setting};
use crate::service::SseService;

/// Layer that sets the headers by which proxies pass each event on at once.
///
/// | header | value | for whom |
/// | --- | --- | --- |
/// | `X-Accel-Buffering` | `no`, unless the handler set it | nginx: no buffering, a flush per event also through gzip |
/// | `Cache-Control` | `no-cache` and `no-transform`, added to what the handler set | varnish, squid, nginx's cache; haproxy, envoy, caddy, express |
/// | `Content-Length` | removed | bytes may be added |
/// | `Content-Encoding` | `identity`, [only when asked for](Self::identity) | varnish, ATS, caddy 2.6 |
///
/// Others that are often recommended, such as `Connection`, `Pragma` or padding, changed nothing
/// with any proxy that was tried.
#[derive(Clone, Debug)]
#[must_use]
pub struct NoBufferLayer(LayerSetting<NoBuffer>);

impl NoBufferLayer {
    /// Sets the headers.
    pub fn new() -> Self {
        Self(LayerSetting::on(NoBuffer::default()))
    }

    /// Sets none, whatever a layer further out asked for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Also says `Content-Encoding: identity`.
    ///
    /// It is the only thing that keeps varnish with `do_gzip`, ATS with its `compress` plugin and
    /// caddy 2.6 with `encode` from compressing, and so from holding back. Off by default, since
    /// [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1) discourages it.
    pub fn identity(self) -> Self {
        Self(self.0.change(|settings| settings.identity = true))
    }

    pub(super) fn setting(&self) -> Setting<NoBuffer> {
        self.0.setting()
    }
}

impl Default for NoBufferLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for NoBufferLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |no_buffer| Plan { no_buffer, ..Plan::default() })
    }
}
