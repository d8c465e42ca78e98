//! Names are found inside of the image as in any pod. A program that is linked statically brings its resolver along, which
//! has to do without the system's files and plugins.

use crate::inside::{Container, alone};
use crate::roles::{API_SERVER, KUBECONFIG, crd};
use crate::servers::{DEADLINE, database, name_server, web_server};

/// As the kubelet writes it for a pod in the namespace shop.
const RESOLV_CONF: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local example.com\n\
                           nameserver 127.0.0.1\noptions ndots:5\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n127.0.0.3\tdb.elsewhere.example.com db-elsewhere\n";

/// What systems have in `/etc/nsswitch.conf`: the image's own, none, and that of one with plugins that are not there.
const SWITCHES: [Option<&str>; 3] =
    [None, Some(""), Some("passwd: files systemd\nhosts: files mymachines resolve [!UNAVAIL=return] dns\n")];

/// The image in a pod, with another `/etc/nsswitch.conf` where one is given; an empty one is none.
fn pod(switch: Option<&str>) -> Container {
    Container::made(|root| {
        for (path, content) in [("etc/resolv.conf", RESOLV_CONF), ("etc/hosts", HOSTS), ("kubeconfig", KUBECONFIG)] {
            crate::inside::put(&root.join(path), content);
        }
        let file = root.join("etc/nsswitch.conf");
        match switch {
            None => assert!(file.exists()),
            Some("") => std::fs::remove_file(file).unwrap(),
            Some(text) => crate::inside::put(&file, text),
        }
    })
}

#[test]
fn services_and_databases_are_found_by_name() {
    alone("names::services_and_databases_are_found_by_name", || {
        let asked = name_server(&["kubernetes.default.svc.cluster.local", "db.stoa-system.svc.cluster.local"]);
        let requests = web_server("127.0.0.1:80", &[crd()]);
        let by_dns = database("127.0.0.1:5432");
        let by_hosts = database("127.0.0.3:5432");
        for switch in SWITCHES {
            let pod = pod(switch);

            let met = pod.run(&["wait", "--crd", "tools.gostoa.dev", "--timeout", "20s"], API_SERVER);
            assert_eq!(met.code, Some(0), "{switch:?}: {met:?}");
            let request = requests.recv_timeout(DEADLINE).unwrap();
            assert!(request.starts_with("kubernetes.default.svc "), "{request}");

            for (host, reached) in [("db.stoa-system.svc", &by_dns), ("db-elsewhere", &by_hosts)] {
                let url = format!("postgres://guard@{host}:5432/stoa?sslmode=disable");
                let waits = ["wait", "--schema-revision", "4f1c2a", "--timeout", "1s"];
                let ended = pod.run(&waits, &[("DATABASE_URL", &url)]);
                assert_eq!(ended.code, Some(1), "{switch:?}: {ended:?}");
                // The length of a startup message, and the version of the protocol: 3.0.
                let first = reached.recv_timeout(DEADLINE).unwrap();
                assert_eq!(first[4..], [0, 3, 0, 0], "{switch:?}: {host}: {ended:?}");
            }

            let mut names: Vec<String> = asked.try_iter().collect();
            names.dedup();
            let of = |name: &str| names.iter().filter(|asked| asked.starts_with(name)).cloned().collect::<Vec<_>>();
            assert_eq!(of("db-elsewhere"), [""; 0], "/etc/hosts knows it");
            let searched = ["db.stoa-system.svc.shop.svc.cluster.local", "db.stoa-system.svc.svc.cluster.local"];
            assert_eq!(of("db.")[..3], [searched[0], searched[1], "db.stoa-system.svc.cluster.local"], "{switch:?}");
        }
    });
}

#[test]
fn a_name_that_nobody_knows_is_told() {
    alone("names::a_name_that_nobody_knows_is_told", || {
        let asked = name_server(&[]);
        for switch in SWITCHES {
            let pod = pod(switch);
            let environment = [("DATABASE_URL", "postgres://guard@nowhere.shop.svc:5432/stoa")];
            let ended = pod.run(&["wait", "--schema-revision", "4f1c2a", "--timeout", "1s"], &environment);
            assert_eq!(ended.code, Some(1), "{switch:?}: {ended:?}");
            assert!(format!("{}{}", ended.out, ended.err).contains("nowhere.shop.svc"), "{switch:?}: {ended:?}");
            assert!(asked.try_iter().any(|name| name == "nowhere.shop.svc.example.com"), "the whole list is searched");
        }
    });
}
