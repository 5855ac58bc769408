vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "UPSTREAM";
    #short .first_byte_timeout = 2s;
    #short .between_bytes_timeout = 2s;
}

#production sub vcl_backend_response {
#production     set beresp.do_gzip = true;
#production }
