# Varnish with its own rules and one backend. run.py fills in $origin_port, and gives the rest on the command line.
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "$origin_port";
}
