//! The files of `docs/deploy`, adapted to a test: addresses, ports and paths are replaced, everything else is kept.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// The public host that the recipes name.
pub(crate) const HOST: &str = "hub.example.com";

/// The folder of the recipes.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/deploy");

/// Where the recipes expect the certificate and its key.
const CERTIFICATE: &str = "/etc/letsencrypt/live/hub.example.com/fullchain.pem";
const KEY: &str = "/etc/letsencrypt/live/hub.example.com/privkey.pem";

/// A proxy that there is a recipe for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Nginx,
    Haproxy,
    Caddy,
    Apache,
}

/// The values that replace an operator's.
pub(crate) struct Substitutions<'a> {
    /// Where the proxy connects to: the hub, or a relay in front of it.
    pub(crate) hub: SocketAddr,
    /// Ports for requests with and without TLS.
    pub(crate) https: u16,
    pub(crate) http: u16,
    /// A file with a certificate for [`HOST`] and its key.
    pub(crate) certificate: &'a Path,
    /// Folder for files that the proxy creates.
    pub(crate) folder: &'a Path,
}

/// The text of a recipe.
struct Recipe {
    file: &'static str,
    text: String,
}

impl Recipe {
    fn read(file: &'static str) -> Self {
        let text = fs::read_to_string(Path::new(FOLDER).join(file)).expect("a recipe");
        Self { file, text }
    }

    /// Replaces a text. Fails unless the recipe has it exactly once.
    #[track_caller]
    fn replace(mut self, old: &str, new: &str) -> Self {
        let count = self.text.matches(old).count();
        assert_eq!(count, 1, "docs/deploy/{} must have {old:?} exactly once", self.file);
        self.text = self.text.replace(old, new);
        self
    }
}

impl ProxyKind {
    /// The program's name.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Apache => "apache2",
        }
    }

    /// The arguments that run it in the foreground with this configuration file.
    pub(crate) fn arguments(self, configuration: &str, folder: &str) -> Vec<String> {
        let pid = format!("daemon off; pid {folder}/pid;");
        let arguments: &[&str] = match self {
            Self::Nginx => &["-p", folder, "-e", "stderr", "-c", configuration, "-g", &pid],
            Self::Haproxy => &["-db", "-f", configuration],
            Self::Caddy => &["run", "--adapter", "caddyfile", "--config", configuration],
            Self::Apache => &["-DFOREGROUND", "-f", configuration],
        };
        arguments.iter().map(|&argument| argument.to_owned()).collect()
    }

    /// The recipe with these values in place. Fails where the recipe doesn't have what they replace.
    pub(crate) fn configuration(self, substitutions: &Substitutions<'_>) -> String {
        match self {
            Self::Nginx => nginx(substitutions),
            Self::Haproxy => haproxy(substitutions),
            Self::Caddy => caddy(substitutions),
            Self::Apache => apache(substitutions),
        }
    }
}

fn nginx(Substitutions { hub, https, http, certificate, folder }: &Substitutions<'_>) -> String {
    let (certificate, folder) = (certificate.display().to_string(), folder.display());
    let paths = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"];
    let paths: String = paths.iter().map(|name| format!("{name}_temp_path {folder}/{name}; ")).collect();
    Recipe::read("nginx.conf")
        .replace("user www-data;", "user root;")
        .replace("worker_processes auto;", "worker_processes 2;")
        .replace("http {\n", &format!("http {{\naccess_log off; {paths}\n"))
        .replace("server 127.0.0.1:3000;", &format!("server {hub};"))
        .replace("listen 80;", &format!("listen 127.0.0.1:{http};"))
        .replace("listen 443 ssl", &format!("listen 127.0.0.1:{https} ssl"))
        .replace(CERTIFICATE, &certificate)
        .replace(KEY, &certificate)
        .text
}

fn haproxy(Substitutions { hub, https, http, certificate, .. }: &Substitutions<'_>) -> String {
    let certificate = certificate.display();
    Recipe::read("haproxy.cfg")
        .replace("    user haproxy\n    group haproxy\n", "")
        // HAProxy refuses to start if the system's limit of open files is too low for so many clients.
        .replace("maxconn 20000", "maxconn 1000")
        .replace("server tidings 127.0.0.1:3000", &format!("server tidings {hub}"))
        .replace("bind :80\n", &format!("bind 127.0.0.1:{http}\n"))
        .replace(
            "bind :443 ssl crt /etc/haproxy/hub.example.com.pem",
            &format!("bind 127.0.0.1:{https} ssl crt {certificate}"),
        )
        .text
}

fn caddy(Substitutions { hub, https, http, certificate, .. }: &Substitutions<'_>) -> String {
    let certificate = certificate.display();
    let globals = format!("\n{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {http}\n\thttps_port {https}\n");
    Recipe::read("Caddyfile")
        .replace("\n{\n", &globals)
        .replace("\nhub.example.com {\n", &format!("\nhub.example.com {{\n\ttls {certificate} {certificate}\n"))
        .replace("reverse_proxy 127.0.0.1:3000 {", &format!("reverse_proxy {hub} {{"))
        .text
}

fn apache(Substitutions { hub, https, http, certificate, folder }: &Substitutions<'_>) -> String {
    let (certificate, folder) = (certificate.display().to_string(), folder.display());
    let site = Recipe::read("apache.conf")
        .replace("http://127.0.0.1:3000/", &format!("http://{hub}/"))
        .replace("<VirtualHost *:80>", &format!("Listen 127.0.0.1:{http}\n<VirtualHost *:{http}>"))
        .replace("<VirtualHost *:443>", &format!("Listen 127.0.0.1:{https}\n<VirtualHost *:{https}>"))
        .replace(CERTIFICATE, &certificate)
        .replace(KEY, &certificate)
        .text;
    // Modules that Debian enables by default, then those that the recipe tells the operator to enable.
    let named = site.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("a2enmod "));
    let modules = ["alias", "authz_core", "env"].into_iter().chain(named.expect("a line with a2enmod").split(' '));
    let modules: String =
        modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")).collect();
    format!(
        "ServerRoot {folder}\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\nErrorLog /dev/stderr\nUser www-data\n\
         Group www-data\nServerName localhost\n{modules}{site}"
    )
}
