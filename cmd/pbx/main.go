// Command pbx is the whole phone system: registrar, calls, sound,
// provisioning and portal over one SQLite file.
//
// This package is the front door: it reads flags, builds the rooms in order
// and closes them in reverse. It knows no rule of telephony.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is stamped by the release build; a plain build shows its commit instead.
var version = ""

const usage = `usage: pbx [command] [flags]

commands:
  serve     run the phone system (also without a command)
  demo      run it with a sample office whose simulated phones call each other
  check     test this machine (ports, clock, names, disk) and say what to mend
  backup    write everything into one file:       pbx backup [--data DIR] FILE
  restore   read it back into an empty directory: pbx restore [--data DIR] FILE
  version   print the version

"pbx serve -h" lists the flags; each is also an environment variable, --sip-udp is PBX_SIP_UDP.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errReported):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "pbx:", err)
		os.Exit(1)
	}
}

// errReported ends the program unsuccessfully when everything has been said already.
var errReported = errors.New("reported")

// run is main without the process around it, so that tests can call it.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "version":
		fmt.Fprintln(stdout, buildVersion())
		return nil
	case "help":
		fmt.Fprint(stdout, usage)
		return nil
	case "serve", "demo", "check", "backup", "restore":
	default:
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("there is no command %q", command)
	}
	cfg, rest, err := parseConfig(command, args, environ, stderr)
	if err != nil {
		return err
	}
	if takesFile := command == "backup" || command == "restore"; takesFile != (len(rest) == 1) || len(rest) > 1 {
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("%s: unexpected or missing argument %q", command, rest)
	}
	switch command {
	case "demo":
		return demo(ctx, cfg, stdout, stderr)
	case "check":
		return check(ctx, cfg, stdout)
	case "backup":
		return backup(ctx, cfg, rest[0], stdout)
	case "restore":
		return restore(ctx, cfg, rest[0], stdout)
	}
	return serve(ctx, cfg, stdout, stderr)
}

// buildVersion names the release, or the commit that was built.
func buildVersion() string {
	if version != "" {
		return version
	}
	revision, changed := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				revision = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = "+changes"
			}
		}
	}
	return "devel-" + revision + changed
}
