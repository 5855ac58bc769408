//! Certificates that a test makes, for servers with TLS.

#![allow(unreachable_pub, reason = "every test that uses this is a crate of its own")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A directory with a certificate for 127.0.0.1, and one that signed it. It ends with this.
#[derive(Debug)]
pub struct Certificates(PathBuf);

impl Certificates {
    /// `name` tells it from those of other tests.
    pub fn new(name: &str) -> Self {
        let certificates = Self(Self::directory(name));
        std::fs::create_dir_all(&certificates.0).unwrap();
        let key = "-newkey rsa:2048 -nodes -days 2";
        certificates.openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca"));
        let name = "-subj /CN=server -addext subjectAltName=IP:127.0.0.1";
        certificates.openssl(&format!("req {key} -keyout key.pem -out request.pem {name}"));
        let ca = "-CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy";
        certificates.openssl(&format!("x509 -req -in request.pem -out cert.pem -days 2 {ca}"));
        certificates
    }

    /// Where those with a name are.
    pub fn directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("tower-sse-tls-{name}-{}", std::process::id()))
    }

    fn openssl(&self, args: &str) {
        let mut command = Command::new("openssl");
        command.args(args.split(' ')).current_dir(&self.0);
        let output = command.stdin(Stdio::null()).output().expect("`openssl` is installed");
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
