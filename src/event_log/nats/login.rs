//! How a log signs in to NATS: by the builder, or by the address.

use std::fmt;
#[cfg(feature = "nats-nkeys")]
use std::path::PathBuf;

use async_nats::{ConnectOptions, ServerAddr};

use crate::InvalidSetting;
use crate::event_log::BrokerError;
use crate::wire::percent_decode;

/// What a log signs in with. `Debug` shows the kind, and nothing that is secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum NatsLogin {
    Password(Box<str>, Box<str>),
    Token(Box<str>),
    /// The seed of a key.
    #[cfg(feature = "nats-nkeys")]
    NKey(Box<str>),
    /// A file with a token and the seed of a key.
    #[cfg(feature = "nats-nkeys")]
    CredentialsFile(PathBuf),
}

impl NatsLogin {
    /// Adds the login to the options of a connection.
    #[cfg_attr(
        not(feature = "nats-nkeys"),
        expect(clippy::unused_async, reason = "a credentials file is read without blocking")
    )]
    pub(super) async fn add_to(
        self,
        options: ConnectOptions,
    ) -> Result<ConnectOptions, BrokerError> {
        Ok(match self {
            Self::Password(user, password) => {
                options.user_and_password(user.into(), password.into())
            }
            Self::Token(token) => options.token(token.into()),
            #[cfg(feature = "nats-nkeys")]
            Self::NKey(seed) => options.nkey(seed.into()),
            #[cfg(feature = "nats-nkeys")]
            Self::CredentialsFile(path) => {
                let why = "it cannot be read, or has no credentials";
                let read = options.credentials_file(path).await;
                read.map_err(|_| InvalidSetting::new("credentials_file", why))?
            }
        })
    }

    /// The login in an address: `user:password@`, or `token@`.
    fn in_address(address: &ServerAddr) -> Option<Self> {
        let text = |text: &str| -> Option<Box<str>> {
            // In this part of an address a `+` stands for itself.
            let decoded = percent_decode(&text.replace('+', "%2B")).into_owned();
            String::from_utf8(decoded).ok().map(Into::into)
        };
        let user = text(address.username()?)?;
        match address.password() {
            Some(password) => Some(Self::Password(user, text(password)?)),
            None => Some(Self::Token(user)),
        }
    }
}

impl fmt::Debug for NatsLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(..) => "Password",
            Self::Token(_) => "Token",
            #[cfg(feature = "nats-nkeys")]
            Self::NKey(_) => "NKey",
            #[cfg(feature = "nats-nkeys")]
            Self::CredentialsFile(_) => "CredentialsFile",
        })
    }
}

/// Reads addresses that are separated by `,`, and the login in them.
///
/// The client library signs in to all servers of a cluster in the same way, so the addresses must
/// not have different logins.
pub(super) fn parse_servers(
    servers: &str,
) -> Result<(Vec<ServerAddr>, Option<NatsLogin>), InvalidSetting> {
    // Without the reason: it may repeat the address, which may have a password in it.
    let invalid = "one of them is not the address of a server";
    let address = |address: &str| {
        let address = address.trim().parse::<ServerAddr>().ok();
        address.filter(|address| !address.host().is_empty())
    };
    let addresses: Option<Vec<_>> = servers.split(',').map(address).collect();
    let addresses = addresses.ok_or(InvalidSetting::new("servers", invalid))?;
    let mut logins = addresses.iter().filter_map(NatsLogin::in_address);
    let login = logins.next();
    if logins.any(|other| Some(other) != login) {
        return Err(InvalidSetting::new("servers", "they have different users or passwords"));
    }
    Ok((addresses, login))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_user_and_a_password_or_a_token() {
        let password = |user: &str, word: &str| Some(NatsLogin::Password(user.into(), word.into()));
        #[rustfmt::skip]
        let table: &[(&str, Option<NatsLogin>)] = &[
            ("nats://a:4222",                    None),
            ("nats://ann:pass@a:4222",           password("ann", "pass")),
            ("ann:pass@a",                       password("ann", "pass")),
            ("nats://ann:p%40s+s%25@a",          password("ann", "p@s+s%")),
            ("nats://token@a",                   Some(NatsLogin::Token("token".into()))),
            ("nats://a, nats://ann:pass@b",      password("ann", "pass")),
            ("nats://ann:pass@a,ann:pass@b",     password("ann", "pass")),
        ];
        for (servers, expected) in table {
            let (_, login) = parse_servers(servers).unwrap();
            assert_eq!(login, *expected, "{servers}");
        }
        for wrong in ["http://a", "", "nats://ann:pass@a,nats://bob:pass@b"] {
            assert_eq!(parse_servers(wrong).unwrap_err().setting(), "servers", "{wrong}");
        }
    }

    #[test]
    fn a_login_does_not_show_what_is_secret() {
        let login = NatsLogin::Password("ann".into(), "secret".into());
        assert_eq!(format!("{login:?}"), "Password");
    }
}
