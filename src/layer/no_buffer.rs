//! [`NoBufferLayer`]: headers that ask proxies not to hold streams back.

use super::{LayerSetting, layer_of_setting};
use crate::plan::NoBuffer;

/// Layer that sets the headers with which proxies pass each event on at once.
///
/// | header | value | for whom |
/// | --- | --- | --- |
/// | `X-Accel-Buffering` | `no`, unless the handler set it | nginx: no buffering, a flush per event also through gzip |
/// | `Cache-Control` | `no-cache` and `no-transform`, added to what the handler set | varnish, squid, nginx's cache; haproxy, envoy, caddy, express |
/// | `Content-Length` | removed, unless the stream is encoded | bytes may be added |
/// | `Content-Encoding` | `identity`, [only when asked for](Self::identity) | varnish, ATS, caddy 2.6 |
///
/// Other headers that are often recommended, such as `Connection` and `Pragma`, and padding changed
/// nothing with any proxy that was tried. A stream with a content encoding gets the headers too.
#[derive(Clone, Debug)]
#[must_use]
pub struct NoBufferLayer(LayerSetting<NoBuffer>);

layer_of_setting!(NoBufferLayer, no_buffer: NoBuffer);

impl NoBufferLayer {
    /// Sets the headers.
    pub fn new() -> Self {
        Self(LayerSetting::on(NoBuffer::default()))
    }

    /// Sets no headers, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Also sets `Content-Encoding: identity`.
    ///
    /// Nothing else keeps varnish with `do_gzip`, ATS with its `compress` plugin and caddy 2.6 with
    /// `encode` from compressing, and so from holding events back. Off by default, since
    /// [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1) discourages it.
    pub fn identity(self) -> Self {
        Self(self.0.change(|settings| settings.identity = true))
    }
}

impl Default for NoBufferLayer {
    fn default() -> Self {
        Self::new()
    }
}
