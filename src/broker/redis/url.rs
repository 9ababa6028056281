//! `broker.url`.

use ::redis::{ConnectionInfo, IntoConnectionInfo};

/// Which broker, and where.
#[derive(Clone, Debug)]
pub enum Url {
    /// This node by itself.
    Memory,
    Redis(Server),
}

/// A Redis server's address and credentials.
#[derive(Clone)]
pub struct Server {
    pub info: ConnectionInfo,
    masked: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked)
    }
}

impl Url {
    /// None: the text is neither `memory:` nor a `redis://` address.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "memory:" {
            return Some(Self::Memory);
        }
        let rest = text.strip_prefix("redis://")?;
        let info = text.into_connection_info().ok()?;
        let masked = match rest.rsplit_once('@') {
            None => text.to_owned(),
            Some((credentials, host)) => {
                let user = credentials.split(':').next().unwrap_or_default();
                format!("redis://{user}:***@{host}")
            }
        };
        Some(Self::Redis(Server { info, masked }))
    }

    /// As it may be shown: without the password.
    pub fn masked(&self) -> String {
        match self {
            Self::Memory => "memory:".to_owned(),
            Self::Redis(server) => server.masked.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        let masked = |text| Url::parse(text).unwrap().masked();
        assert_eq!(masked("redis://127.0.0.1:6379/2"), "redis://127.0.0.1:6379/2");
        assert_eq!(masked("redis://:p%40ss@host"), "redis://:***@host");
        assert_eq!(masked("redis://ada:hush@host:1"), "redis://ada:***@host:1");
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in ["", "memory", "http://host", "redis", "redis://", "rediss://host"] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
    }
}
