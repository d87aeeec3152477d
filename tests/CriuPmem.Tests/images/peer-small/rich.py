import os,socket,select,time,signal,mmap,fcntl,pty,struct,tempfile
os.chdir('/tmp/peer-small')
r,w=os.pipe(); os.write(w,b'unread pipe bytes')
m=os.memfd_create('note',0); os.write(m,b'memfd'); 
e=os.eventfd(5); 
ep=select.epoll(); ep.register(e,select.EPOLLIN); ep.register(r,select.EPOLLIN)
a,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM); a.send(b'datagram'); a.send(b'second one')
s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(4)
u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(('127.0.0.1',0))
f=open('/tmp/peer-small/ghost','w+'); f.write('deleted contents'); f.flush(); os.unlink('/tmp/peer-small/ghost')
try: os.mkfifo('/tmp/peer-small/fifo')
except FileExistsError: pass
ff=os.open('/tmp/peer-small/fifo',os.O_RDWR); os.write(ff,b'in the fifo')
mm=mmap.mmap(-1,8192); mm[0:4]=b'shar'
master,slave=pty.openpty(); os.write(master,b'typed\n')
lk=open('/tmp/peer-small/lock','w'); fcntl.flock(lk,fcntl.LOCK_EX)
signal.setitimer(signal.ITIMER_REAL,5000)
signal.signal(signal.SIGALRM,lambda *a:None)
import threading
threading.Thread(target=lambda:time.sleep(1000),daemon=True).start()
if os.fork()==0:
    if os.fork()==0: os._exit(3)   # a zombie
    time.sleep(1000)
if os.fork()==0:
    os.setpgid(0,0); os.kill(os.getpid(),signal.SIGSTOP); time.sleep(1000)
open('/tmp/peer-small/ready','w').write('x')
time.sleep(1000)
