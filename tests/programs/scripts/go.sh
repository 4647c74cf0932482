# needs: go
export GOCACHE="$PWD/cache" GOPATH="$PWD/path" GO111MODULE=off GOFLAGS=-p=2
cat > a.go <<'EOF'
package main
import ("fmt"; "os"; "os/exec"; "os/signal"; "sync"; "syscall"; "time"; "runtime")
func main() {
	var wg sync.WaitGroup; ch := make(chan int, 10)
	for i := 0; i < 100; i++ { wg.Add(1); go func(n int) { defer wg.Done(); time.Sleep(time.Millisecond); ch <- n }(i) }
	go func() { wg.Wait(); close(ch) }(); s := 0; for n := range ch { s += n }; fmt.Println(s)
	t := time.NewTicker(5 * time.Millisecond); for i := 0; i < 3; i++ { <-t.C }; t.Stop(); fmt.Println("ticked")
	c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGUSR1); syscall.Kill(os.Getpid(), syscall.SIGUSR1); fmt.Println(<-c)
	out, err := exec.Command("echo", "child").Output(); fmt.Print(string(out)); fmt.Println(err)
	done := make(chan bool); go func() { for x := 0; ; x++ { select { case <-done: return; default: } } }(); runtime.Gosched(); done <- true
	defer func() { fmt.Println(recover()); os.Exit(3) }(); var p *int; fmt.Println(*p)
}
EOF
go build -o prog a.go && ./prog; echo "exit $?"; rm -rf cache path prog a.go
