module aiload/bench/go-proxy

go 1.21
