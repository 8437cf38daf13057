//! The cookies of one journey: kept from step to step, and sent to nobody else.
use reqwest::Url;
use reqwest::header::{HeaderMap, SET_COOKIE};

/// More than any service needs for a few requests.
const COOKIES_MAX: usize = 50;

#[derive(Default)]
pub(super) struct Cookies(Vec<Cookie>);

#[derive(Debug, PartialEq)]
struct Cookie {
    name: String,
    value: String,
    host: String,
    /// The service said `Domain`: its subdomains get it too.
    subdomains: bool,
    path: String,
    secure: bool,
}

impl Cookies {
    /// Takes what an answer sets, and answers the values, which are confidential.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) -> Vec<String> {
        let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = Vec::new();
        for (cookie, over) in lines.filter_map(|line| parse(line, url)) {
            let same = |other: &Cookie| {
                (&other.name, &other.host, &other.path) == (&cookie.name, &cookie.host, &cookie.path)
            };
            self.0.retain(|other| !same(other));
            if !over && self.0.len() < COOKIES_MAX {
                values.push(cookie.value.clone());
                self.0.push(cookie);
            }
        }
        values
    }

    /// The header that a request to this URL carries.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let mut sent: Vec<&Cookie> = self.0.iter().filter(|cookie| cookie.goes_to(url)).collect();
        // Those of deeper paths come first; servers take the first of a name.
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = sent.iter().map(|c| format!("{}={}", c.name, c.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    fn goes_to(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host_fits = host == self.host || (self.subdomains && is_below(host, &self.host));
        let rest = url.path().strip_prefix(self.path.as_str());
        let path_fits = rest.is_some_and(|r| r.is_empty() || r.starts_with('/') || self.path.ends_with('/'));
        host_fits && path_fits && (!self.secure || url.scheme() == "https")
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// The cookie, and whether it is over already, which is how servers take one back. `None` for one that is not this
/// server's to set.
fn parse(line: &str, url: &Url) -> Option<(Cookie, bool)> {
    let mut parts = line.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let host = url.host_str()?.to_string();
    let directory = url.path().rsplit_once('/').map_or("", |(directory, _)| directory);
    let path = if directory.is_empty() { "/" } else { directory }.to_string();
    let (name, value) = (name.trim().to_string(), value.trim().to_string());
    let mut cookie = Cookie { name, value, host, subdomains: false, path, secure: false };
    let mut over = false;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "path" if value.starts_with('/') => cookie.path = value.to_string(),
            "domain" if !value.is_empty() => {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                // One for all of `.com` would go to strangers.
                let own = domain == cookie.host || (is_below(&cookie.host, &domain) && domain.contains('.'));
                own.then(|| (cookie.host, cookie.subdomains) = (domain, url.domain().is_some()))?;
            }
            "max-age" => over = value.parse::<i64>().is_ok_and(|secs| secs <= 0),
            // The date that everybody takes for "never".
            "expires" => over |= value.contains("1970"),
            _ => {}
        }
    }
    (!cookie.name.is_empty()).then_some((cookie, over))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// What is sent to `to` after `from` has set these.
    fn sent(from: &str, set: &[&str], to: &str) -> String {
        let mut cookies = Cookies::default();
        for line in set {
            let headers = HeaderMap::from_iter([(SET_COOKIE, line.parse().unwrap())]);
            cookies.take(&url(from), &headers);
        }
        cookies.header(&url(to)).unwrap_or_default()
    }

    #[test]
    fn a_cookie_goes_where_it_belongs_and_nowhere_else() {
        let login = "https://auth.shop.example/api/login";
        let cases = [
            ("s=1", login, "s=1"),
            ("s=1", "https://auth.shop.example/api/orders/7", "s=1"),
            ("s=1", "https://auth.shop.example/apis", ""),
            ("s=1; Path=/", "https://auth.shop.example/", "s=1"),
            ("s=1; Path=/", "https://api.shop.example/", ""),
            ("s=1; Path=/; Domain=shop.example", "https://api.shop.example/x", "s=1"),
            ("s=1; Path=/; Domain=.shop.example", "https://myshop.example/x", ""),
            ("s=1; Path=/; Domain=example", "https://auth.shop.example/", ""),
            ("s=1; Path=/; Domain=evil.example", "https://auth.shop.example/", ""),
            ("s=1; path=/; secure; HttpOnly", "http://auth.shop.example/", ""),
            ("s=1; Path=/; Max-Age=3600; SameSite=Lax", "https://auth.shop.example/", "s=1"),
            ("no cookie", login, ""),
            ("=1; Path=/", login, ""),
        ];
        for (set, to, expected) in cases {
            assert_eq!(sent(login, &[set], to), expected, "{set} to {to}");
        }
    }

    #[test]
    fn later_ones_replace_earlier_ones_and_may_end_them() {
        let shop = "https://shop.example/";
        assert_eq!(sent(shop, &["a=1", "b=2", "a=3"], shop), "b=2; a=3");
        assert_eq!(sent(shop, &["a=1", "a=; Max-Age=0"], shop), "");
        assert_eq!(sent(shop, &["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], shop), "");
        assert_eq!(sent(shop, &["a=1", "a=2; Path=/deep"], "https://shop.example/deep/x"), "a=2; a=1");
    }
}
