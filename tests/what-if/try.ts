import { poisson } from '../../bench/sim/arrivals.ts'
import { tenAMinute, requests } from '../../bench/sim/scenarios.ts'
import { uniform } from '../../bench/sim/dice.ts'
import { runWorld, SECRET, NOON } from './recorded-world.ts'
import { predict } from '../../src/cli/what-if/predict.ts'
import { checked } from '../support/test-app.ts'
const HOUR=3600000
const entry=(host:string,more:object={})=>({base_url:`https://${host}.sim/v1`,api_key:`key-${host}`,model:`model-${host}`,name:host,...more})
const cfg=(models:object[],settings:object={})=>({auth_token:'sk-test-token',models,settings:{affinity:'off',strategy:'random',...settings}})
const scen: Record<string,{world:any,a:object,b:object}> = {}
for (const dialect of ['silent','openai','retry-after','groq','epoch','limit in words'] as const)
 for (const forgets of ['rolling','bucket','wall','first'] as const) {
  const v=tenAMinute({name:'ten',forgets,dialect})
  scen[`untold ${dialect} ${forgets}`]={world:{vendors:[v],arrivals:poisson(15,HOUR,3),seed:5},a:cfg([entry('ten')]),b:cfg([entry('ten',{api_key:['key-ten','k2']})])}
 }
scen['configured']={world:{vendors:[tenAMinute({name:'ten'})],arrivals:poisson(15,HOUR,3),seed:5},a:cfg([entry('ten',{limits:{rpm:10}})]),b:cfg([entry('ten',{limits:{rpm:10},api_key:['key-ten','k2']})])}
const big=(name:string,n:number,more:object={})=>tenAMinute({name,limits:[requests(n)],...more})
scen['outage']={world:{vendors:[big('one',20),big('two',20)],arrivals:poisson(25,HOUR*2,3),outages:[{host:'one',from:HOUR*0.8,to:HOUR*1.1}],failing:0.02,seed:5},a:cfg([entry('one'),entry('two')]),b:cfg([entry('one'),entry('two'),entry('two',{api_key:'k3',name:'two-b'})])}
scen['strategy']={world:{vendors:[big('one',20),big('two',8,{dialect:'openai',forgets:'bucket'})],arrivals:poisson(24,HOUR*2,3),seed:5},a:cfg([entry('one'),entry('two')],{strategy:'round_robin'}),b:cfg([entry('one'),entry('two')],{strategy:'headroom'})}
scen['removing']={world:{vendors:[big('one',12),big('two',12),big('three',12)],arrivals:poisson(20,HOUR,3),seed:5},a:cfg([entry('one'),entry('two'),entry('three')]),b:cfg([entry('one')])}
scen['removing two of limits']={world:{vendors:[big('one',12),big('two',12),big('three',12)],arrivals:poisson(40,HOUR,3),seed:5},a:cfg([entry('one'),entry('two'),entry('three')]),b:cfg([entry('one')])}
const only=process.argv[2]
for (const [name,{world,a,b}] of Object.entries(scen)) {
  if (only && !name.includes(only)) continue
  const cpu=()=>(process.cpuUsage().user+process.cpuUsage().system)/1000|0; const t0=cpu()
  const A=await runWorld(world,a), B=await runWorld(world,b)
  const t1=cpu()
  const p:any=await predict({segments:A.segments,secret:SECRET,present:checked(a),next:checked(b),since:NOON})
  if ('count' in p) { console.log(name,p); continue }
  const pc=(x:number)=>(100*x).toFixed(1)
  console.log(name.padEnd(26), 'A',pc(A.share),'rec',pc(p.recorded.answered_share),'ctl',pc(p.present.answered_share),'| B',pc(B.share),'pred',pc(p.new.answered_share), '| met',A.met,p.present.limits_met, B.met,p.new.limits_met, `${t1-t0}+${cpu()-t1} cpu ms`, JSON.stringify(p.upstreams[0].limits.map((l:any)=>`${l.limit} ${l.counts}/${l.span_ms/1000}s ${l.source}`)), p.upstreams[0].outages)
}
